"""The model zoo's files, as `mim search` and web pages read them."""
from pathlib import Path

import pytest


def test_model_index(root):
    load = pytest.importorskip('modelindex.load_model_index')
    index = load.load(str(root / 'model-index.yml'))
    index.build_models_with_collections()
    names = [model.name for model in index.models]
    assert len(set(names)) == len(names)
    for model in index.models:
        config = Path(model.config)
        assert config.stem == model.name
        assert (root / config).is_file()
        for downstream in model.data.get('Downstream', []):
            assert downstream in names
    for collection in index.collections:
        assert (root / collection.readme).is_file()


def test_every_library_is_described(root):
    for folder in sorted((root / 'configs').iterdir()):
        if folder.is_dir() and folder.name != '_base_':
            text = (folder / 'README.md').read_text()
            assert text.startswith('# ') and '```bash' in text
