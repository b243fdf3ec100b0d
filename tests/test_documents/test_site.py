"""What `make docs` is made of."""
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from repfusion_mm.registry import (
    DATASETS,
    HOOKS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
)

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location(
    'docs_pages', ROOT / 'tools' / 'docs_pages.py')
docs_pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(docs_pages)


def nav_of(entries):
    """Every page of the menu."""
    for entry in entries:
        for value in entry.values():
            yield from nav_of(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_menu():
    nav = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())['nav']
    pages = {path.relative_to(ROOT / 'docs').as_posix()
             for path in (ROOT / 'docs').rglob('*.md')}
    assert set(nav_of(nav)) == pages


def test_all_that_is_registered_is_in_the_reference():
    text = '\n'.join(path.read_text() for path in
                     (ROOT / 'docs' / 'reference').glob('*.md'))
    described = set(re.findall(r'^::: \S+\.(\w+)$', text, re.M))
    for registry in (MODELS, HOOKS, DATASETS, OPTIM_WRAPPERS, TRANSFORMS,
                     OPTIM_WRAPPER_CONSTRUCTORS):
        registry.import_from_location()
        ours = {part.__name__.lstrip('_') for part in
                registry.module_dict.values()
                if part.__module__.startswith('repfusion_mm.')}
        ours -= {'celebamask_hq'}  # makes a CelebAMaskHQ
        assert ours <= described


def test_what_the_reference_names_exists():
    for path in (ROOT / 'docs' / 'reference').glob('*.md'):
        for name in re.findall(r'^::: (\S+)$', path.read_text(), re.M):
            module, _, part = name.rpartition('.')
            if module.endswith('celebamask_hq'):
                pytest.importorskip('mmseg')
            assert hasattr(importlib.import_module(module), part), name


def test_section():
    text = '# a\n## b\n1\n```bash\n# no heading\n```\n### c\n2\n## d\n3'
    assert docs_pages.section(text, 'b', 'x') == \
        '1\n```bash\n# no heading\n```\n### c\n2'
    with pytest.raises(ValueError, match="x has no heading 'e'"):
        docs_pages.section(text, 'e', 'x')


@pytest.mark.parametrize('target, seen', [
    ('docs/parts.md#rewards', '[text](../parts.md#rewards)'),
    ('benchmarks/README.md', '[text](../benchmarks.md)'),
    ('README.md', '[text](../index.md)'),
    ('benchmarks/results/digits.json', 'text'),
    ('https://arxiv.org/abs/1', '[text](https://arxiv.org/abs/1)'),
    ('#here', '[text](#here)'),
])
def test_links(target, seen):
    assert docs_pages.with_links(
        f'a [text]({target}) b', 'README.md',
        'docs/reference/x.md') == f'a {seen} b'


def test_a_link_from_beside():
    assert docs_pages.with_links(
        '![a [b] c](../docs/x.png)\n```\n[a](b)\n```\n[digits.json]'
        '(results/digits.json)', 'benchmarks/README.md',
        'docs/benchmarks.md') == \
        '![a [b] c](x.png)\n```\n[a](b)\n```\n`benchmarks/results/digits.json`'


def test_included():
    seen = docs_pages.on_page_markdown(
        '# A\n\n<!-- include: README.md, Two commands -->\n',
        type('Page', (), dict(file=type('File', (), dict(
            src_uri='get_started.md')))))
    assert seen.startswith('# A\n\n\n```bash\nmake demo')
    assert '## What came out' not in seen


def test_roles():
    assert docs_pages.on_page_content(
        'of :class:<code>Look</code>') == 'of <code>Look</code>'
