"""MMEngine's loader, wherever it takes a file from."""
import shutil

import mmengine.runner.checkpoint as checkpoint
import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint

from repfusion_mm.safe_loading import RefusedFileError, guard_mmengine
from repfusion_mm.safe_loading.safetensors_file import write_safetensors

URL = 'https://no.such/weights.pth'


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """What is downloaded is a file of ours."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))

    def fetch(path):
        monkeypatch.setattr(
            torch.hub, 'download_url_to_file',
            lambda url, to, **how: shutil.copy(path, to))

    return fetch


@pytest.fixture
def loads(monkeypatch):
    """Loads by the name of a model in a model zoo, or by a URL."""
    guard_mmengine()
    monkeypatch.setattr(checkpoint, 'get_external_models',
                        lambda: dict(some=URL))
    monkeypatch.setattr(checkpoint, 'get_deprecated_model_names', dict)
    monkeypatch.setattr(checkpoint, 'get_mmcls_models',
                        lambda: dict(some=URL))
    monkeypatch.setattr(checkpoint, 'get_torchvision_models',
                        lambda: dict(some=URL))
    return lambda name: CheckpointLoader.load_checkpoint(name, 'cpu')


@pytest.mark.parametrize('name', [
    URL, 'http://no.such/weights.pth', 'open-mmlab://some',
    'openmmlab://some', 'mmcls://some', 'torchvision://some'])
def test_of_the_net(loads, fetched, plant, marker, tmp_path, name):
    fetched(plant())
    with pytest.raises(RefusedFileError, match='hub.*call posix.mkdir'):
        loads(name)
    assert not marker.exists()
    shutil.rmtree(tmp_path / 'hub')
    torch.save(dict(state_dict={'backbone.w': torch.ones(2)}),
               tmp_path / 'good.pth')
    fetched(tmp_path / 'good.pth')
    for _ in range(2):  # the second time it is there
        state = loads(name)['state_dict']
        assert list(state.values())[0].tolist() == [1, 1]
        fetched('no/such/file')


def test_of_a_cloud(loads, plant, marker, monkeypatch):
    path = plant()

    class Cloud:
        def get(self, name):
            with open(path, 'rb') as file:
                return file.read()

    monkeypatch.setattr(checkpoint, 'get_file_backend',
                        lambda *args, **kwargs: Cloud())
    with pytest.raises(RefusedFileError, match='call posix.mkdir'):
        loads('s3://bucket/weights.pth')
    assert not marker.exists()


def test_safetensors(tmp_path):
    guard_mmengine()
    module, other = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    torch.nn.init.normal_(module.weight)
    path = str(tmp_path / 'a.safetensors')
    write_safetensors(module.state_dict(), path, {})
    load_checkpoint(other, path, 'cpu', strict=True)
    assert torch.equal(module.weight, other.weight)


def test_others_keep_theirs(plant, marker):
    """`torch.load` is not changed, and asking twice changes nothing."""
    before = checkpoint.torch
    guard_mmengine()
    guard_mmengine()
    assert checkpoint.torch is before  # by the registry of ours
    assert checkpoint.torch.save is torch.save
    torch.load(plant(), weights_only=False)
    assert marker.exists()
