"""What `make docs` makes of the documents that lie beside docs/.

A line ``<!-- include: README.md, Use it on your own images -->`` becomes that
section, or without a heading the whole file. Links from there, and to there,
lead to where the site has them; what it has not is named without a link.
"""
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INCLUDE = re.compile(r'^<!-- include: ([^,\s]+)(?:, (.+))? -->$', re.M)
LINK = re.compile(r'(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)')
FENCE = re.compile(r'(^```.*?^```$)', re.M | re.S)
ROLE = re.compile(r':(?:attr|class|func|meth|mod):(?=<code>)')
# where the site has what lies outside docs/
PAGES = {'README.md': 'docs/index.md',
         'benchmarks/README.md': 'docs/benchmarks.md'}


def on_page_markdown(markdown, page, **_):
    """Called by MkDocs with the text of each page."""
    place = posixpath.join('docs', page.file.src_uri)
    text = INCLUDE.sub(lambda match: included(*match.groups(), place),
                       markdown)
    return with_links(text, place, place)


def on_page_content(html, **_):
    """Called with each page's HTML: docstrings have Sphinx's roles."""
    return ROLE.sub('', html)


def included(name, heading, place):
    """A document, or one of its sections without its heading."""
    text = (ROOT / name).read_text()
    if heading is not None:
        text = section(text, heading, name)
    return with_links(text, name, place)


def section(text, heading, name):
    """What lies below a heading, to the next one of its level."""
    lines, level, found = text.split('\n'), None, []
    is_code = False
    for line in lines:
        is_code ^= line.startswith('```')
        mark, _, title = line.partition(' ')
        is_heading = not is_code and mark and set(mark) == {'#'}
        if level is None:
            if is_heading and title == heading:
                level = len(mark)
        elif is_heading and len(mark) <= level:
            break
        else:
            found.append(line)
    if level is None:
        raise ValueError(f'{name} has no heading {heading!r}')
    return '\n'.join(found)


def with_links(text, source, place):
    """A text's links, as seen from the page that it stands in.

    Args:
        text (str): In Markdown.
        source (str): Where it was written, below the repository's root.
        place (str): Of the page, alike.
    """
    return ''.join(
        part if part.startswith('```') else
        LINK.sub(lambda match: _link(match, source, place), part)
        for part in FENCE.split(text))


def _link(match, source, place):
    mark, text, target = match.groups()
    if target.startswith(('http:', 'https:', '#', 'mailto:')):
        return match[0]
    path, hash_, anchor = target.partition('#')
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    path = PAGES.get(path, path)
    if not path.startswith('docs/'):  # code and results are not on the site
        return f'`{path}`' if text == posixpath.basename(path) else text
    path = posixpath.relpath(path, posixpath.dirname(place))
    return f'{mark}[{text}]({path}{hash_}{anchor})'
