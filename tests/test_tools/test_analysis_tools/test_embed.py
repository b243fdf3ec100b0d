"""Features of a folder, against the model's own forward pass."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

STAGE_ONE = 'configs/demo/repfusion_resnet18_uniform_digits.py'
SCRATCH = 'configs/demo/resnet18_scratch_digits.py'


@pytest.fixture
def embed(tool, root, monkeypatch):
    monkeypatch.chdir(root)
    return tool('analysis_tools/embed').main


@pytest.fixture
def folder(tmp_path):
    """Five images of digits, in two folders, and two bad files."""
    from sklearn.datasets import load_digits
    found = tmp_path / 'images'
    (found / 'inner').mkdir(parents=True)
    for index, digit in enumerate(load_digits().images[:5]):
        image = cv2.resize(digit * 15, (16, 16)).astype(np.uint8)
        colours = np.stack([image, 255 - image, image // 2], -1)
        place = found / 'inner' if index % 2 else found
        cv2.imwrite(str(place / f'{index}.png'), colours)
    (found / 'a.png').write_bytes(b'')
    (found / 'b.jpg').write_bytes(b'<html>')
    (found / 'notes.txt').write_text('no image')
    return found


@pytest.fixture
def trained(tmp_path, build):
    """Checkpoints of a stage 1 and of a classifier, and their models."""

    def save(path):
        from mmengine.registry import init_default_scope
        cfg = Config.fromfile(path)
        init_default_scope(cfg.default_scope)
        if 'data_preprocessor' not in cfg.model:
            cfg.model.data_preprocessor = cfg.data_preprocessor
        model = build(cfg.model).eval()
        for value in model.state_dict().values():
            if value.dim() == 1 and value.is_floating_point():
                value.uniform_(0.5, 1.5)
        file = str(tmp_path / 'a.pth')
        torch.save(dict(state_dict=model.state_dict()), file)
        return model, file

    return save


def expected(model, folder, names):
    """By the whole model, one image at a time, RGB as in training."""
    rows = []
    for name in names:
        image = cv2.imread(str(folder / name))[..., ::-1].copy()
        batch = model.data_preprocessor(dict(
            inputs=[torch.from_numpy(image.transpose(2, 0, 1))]))
        with torch.no_grad():
            rows.append(model.backbone(batch['inputs'])[-1].mean((2, 3)))
    return torch.cat(rows).numpy()


@pytest.mark.parametrize('path', [STAGE_ONE, SCRATCH])
def test_npy(embed, folder, trained, tmp_path, capsys, path):
    model, checkpoint = trained(path)
    out = tmp_path / 'new' / 'found.npy'
    embed([path, checkpoint, str(folder), '--out', str(out),
           '--batch-size', '2'])
    names = (tmp_path / 'new' / 'found.txt').read_text().splitlines()
    assert sorted(names) == ['0.png', '2.png', '4.png', 'inner/1.png',
                             'inner/3.png']
    found = np.load(out, mmap_mode='r')
    assert found.shape == (5, 128) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected(model, folder, names),
                               rtol=1e-4, atol=1e-5)
    said = capsys.readouterr().out
    assert '2 images are left out' in said
    assert "'a.png' is empty" in said and "'b.jpg' is no image" in said
    assert sorted(p.name for p in out.parent.iterdir()) == [
        'found.npy', 'found.txt']


def test_parquet(embed, folder, trained, tmp_path):
    parquet = pytest.importorskip('pyarrow.parquet')
    model, checkpoint = trained(STAGE_ONE)
    out = tmp_path / 'found.parquet'
    embed([STAGE_ONE, checkpoint, str(folder), '--out', str(out),
           '--batch-size', '2', '--bad', str(tmp_path / 'bad.json')])
    table = parquet.read_table(out).to_pydict()
    np.testing.assert_allclose(
        np.array(table['vector']), expected(model, folder, table['name']),
        rtol=1e-4, atol=1e-5)
    assert set(json.loads((tmp_path / 'bad.json').read_text())) == {
        'a.png', 'b.jpg'}


def test_size_of_an_image(embed, folder, trained, tmp_path):
    """Other sizes are cut and resized, or shown as --image-size says."""
    _, checkpoint = trained(STAGE_ONE)
    wide = cv2.imread(str(folder / '0.png'))
    for name, image in (('x.png', cv2.resize(wide, (64, 32))),
                        ('y.png', cv2.resize(wide, (8, 12)))):
        cv2.imwrite(str(folder / name), image)
    out = str(tmp_path / 'a.npy')
    embed([STAGE_ONE, checkpoint, str(folder), '--out', out])
    assert len(np.load(out)) == 7
    embed([STAGE_ONE, checkpoint, str(folder), '--out', out, '--force',
           '--image-size', '16', '24'])
    assert len(np.load(out)) == 7


@pytest.mark.parametrize('arguments, message', [
    (['--out', 'x.csv'], r"'x.csv', expected a file of \('.npy'"),
    (['--out', 'x.npy', '--cfg-options',
      'model.backbone.base_channels=8'], 'another backbone than the config')])
def test_errors(embed, folder, trained, arguments, message):
    _, checkpoint = trained(STAGE_ONE)
    with pytest.raises(SystemExit, match=message):
        embed([STAGE_ONE, checkpoint, str(folder), *arguments])


def test_nothing_is_left_of_a_failure(embed, folder, trained, tmp_path,
                                      monkeypatch):
    _, checkpoint = trained(STAGE_ONE)
    out = tmp_path / 'out' / 'a.npy'
    calls = []

    def fail(output):
        calls.append(output)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return output[-1].mean((2, 3))

    monkeypatch.setattr('repfusion_mm.analysis.embedding.pooled_output', fail)
    with pytest.raises(KeyboardInterrupt):
        embed([STAGE_ONE, checkpoint, str(folder), '--out', str(out),
               '--batch-size', '2'])
    assert list(out.parent.iterdir()) == []


def test_no_images(embed, trained, tmp_path):
    _, checkpoint = trained(STAGE_ONE)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SystemExit, match='has no images, and 0 other'):
        embed([STAGE_ONE, checkpoint, str(tmp_path / 'empty'), '--out',
               str(tmp_path / 'a.npy')])


def test_whole_images_of_other_libraries(tmp_path):
    """Which are not shown as in their test: an own size is found."""
    from repfusion_mm.analysis.folder_images import pipeline_of
    cfg = Config(dict(default_scope='mmseg', train_dataloader=dict(
        dataset=dict(type='x', datasets=[dict(pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomCrop', crop_size=(24, 40)),
            dict(type='PackSegInputs')])]))))
    image = np.random.default_rng(0).integers(
        0, 255, (24, 40, 3)).astype(np.uint8)
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, image)
    found = pipeline_of(cfg)(dict(img_path=path))['inputs']
    assert (found.numpy() == image.transpose(2, 0, 1)).all()
