"""The commands that the documents tell people to type."""
import re
import shlex
from typing import NamedTuple

FENCED = re.compile(r'^```(?:bash|console)\n(.*?)^```', re.M | re.S)
OTHER_FENCE = re.compile(r'^```.*?^```', re.M | re.S)
INLINE = re.compile(
    r'`((?:\w+=\S+ )*(?:python|bash|make|mim|pip|repfusion|source)\s[^`]+)`')


class Command(NamedTuple):
    """One of them.

    Attributes:
        document (str): Where it stands.
        words (tuple[str]): As a shell hands them over.
    """
    document: str
    words: tuple

    def __str__(self):
        return f'{self.document}: {" ".join(self.words)}'


def all_commands(root):
    """Every command of the documents, once for each of them."""
    documents = [*root.glob('*.md'), *root.glob('docs/**/*.md'),
                 root / 'benchmarks' / 'README.md',
                 *root.glob('configs/*/README.md')]
    return list(dict.fromkeys(
        command for path in sorted(documents)
        for command in commands_of(path.read_text(),
                                   path.relative_to(root).as_posix())))


def commands_of(text, document=''):
    """The commands in fenced blocks and in a line of text."""
    lines = [line.strip() for block in FENCED.findall(text)
             for line in block.replace('\\\n', ' ').split('\n')]
    lines += [' '.join(line.split())
              for line in INLINE.findall(OTHER_FENCE.sub('', text))]
    found = []
    for line in lines:
        # <a name> stands for something, and is one word
        line = re.sub(r'<[^<>]*>', 'NAME', line)
        words = tuple(word for word in shlex.split(line, comments=True)
                      if not re.fullmatch(r'[A-Z_]+=\S*|\.\.\.', word))
        if words:
            found.append(Command(document, words))
    return found
