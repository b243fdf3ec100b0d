"""A digest of the package's code that a config's results can depend on."""
import ast
import functools
import hashlib
import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / 'repfusion_mm'
SCOPE = 'repfusion_mm.'
OURS = re.compile(r'repfusion_mm\.(\w+)')


def code_digest(config, *scripts):
    """Digest of the code behind a config, comments and docstrings apart.

    These are the modules in which the config's types are defined, those that
    they import, those of the types that their code names as defaults, and so
    on. A docstring or another module may change without it.

    Args:
        config (str): A config's text.
        *scripts (Path): What the config is run with: they count, and what
            they import and name.

    Returns:
        str: Hexadecimal.
    """
    found, left = {}, list(_modules_of_types(config))
    for script in scripts:
        code, imports, text = _read(_text(script), '')
        found[script.name] = code
        left += [*imports, *_modules_of_types(text)]
    while left:
        name = left.pop()
        path = None if name in found else _file(name)
        if path is None:  # seen, or a name inside a module and no module
            continue
        package = name if path.name == '__init__.py' else \
            name.rpartition('.')[0]
        found[name], imports, text = _read(_text(path), package)
        left += [*imports, *_modules_of_types(text)]
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f'{name}\n{found[name]}\n'.encode())
    return digest.hexdigest()


def package_digest():
    """Digest of every line of the package."""
    digest = hashlib.sha256()
    for source in sorted(PACKAGE.rglob('*.py')):
        digest.update(source.read_bytes())
    return digest.hexdigest()


@functools.cache  # as it was when it was run, whoever edits it meanwhile
def _text(path):
    return path.read_text()


@functools.cache  # every job asks for much the same files
def _read(source, package):
    """A digest of a source's code, what it imports, and its strings."""
    tree = _without_docstrings(ast.parse(source))
    # Python 3.12 has a field more, which is empty
    text = ast.dump(tree).replace(', type_params=[]', '')
    code = hashlib.sha256(text.encode()).hexdigest()
    strings = ' '.join(
        node.value for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return code, tuple(_imports(tree, package)), strings


def _modules_of_types(text):
    """The modules of the registered types that a text names."""
    names = set(OURS.findall(text))
    return {cls.__module__ for one in _registries()
            for name, cls in one.module_dict.items() if name in names}


def _registries():
    from repfusion_mm import registry  # needs MMEngine
    found = [one for one in vars(registry).values()
             if isinstance(one, registry.Registry)
             and one.scope == SCOPE[:-1]]
    for one in found:
        one.import_from_location()
    return found


def _file(name):
    """The file of a module of the package; None if there is none."""
    if f'{name}.'.startswith(SCOPE):
        path = PACKAGE.parent.joinpath(*name.split('.'))
        for file in (path.with_suffix('.py'), path / '__init__.py'):
            if file.is_file():
                return file
    return None


def _imports(tree, package):
    """Names of modules, and of what is imported from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parts = package.split('.')
                parts = parts[:len(parts) - node.level + 1]
                base = '.'.join([*parts, *filter(None, [node.module])])
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)


def _without_docstrings(tree):
    for node in ast.walk(tree):
        body = getattr(node, 'body', None)
        if isinstance(body, list) and body and \
                isinstance(body[0], ast.Expr) and \
                isinstance(body[0].value, ast.Constant) and \
                isinstance(body[0].value.value, str):
            body[0].value.value = ''
    return tree
