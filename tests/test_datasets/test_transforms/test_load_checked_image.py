"""Through the data sets and the loader of a training."""
import os

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from repfusion_mm.datasets.transforms import LoadCheckedImage, skipped
from repfusion_mm.datasets.transforms.bad_image_error import BadImageError
from repfusion_mm.registry import DATASETS
from tests.test_datasets.bad_files import BAD, JPEG, file


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    skipped.forget()
    yield
    skipped.forget()


@pytest.fixture
def folder(tmp_path):
    """Two classes: a has grey pictures and all that is bad, b white ones."""
    from PIL import Image
    for name, level in dict(a=100, b=255).items():
        (tmp_path / 'images' / name).mkdir(parents=True)
        for i in range(3):
            Image.new('L', (20, 16), level).save(
                tmp_path / 'images' / name / f'{i}.png')
    for name, (content, _, _) in BAD.items():
        (tmp_path / 'images/a' / name).write_bytes(content)
    (tmp_path / 'images/a/folder.jpg').mkdir()
    return tmp_path / 'images'


def plain(folder, bad_images='skip', **kwargs):
    return dict(type='mmpretrain.CustomDataset', data_root=str(folder),
                pipeline=[dict(type='repfusion_mm.LoadCheckedImage',
                               bad_images=bad_images),
                          dict(type='Resize', scale=(8, 8)),
                          dict(type='PackInputs')], **kwargs)


@pytest.mark.parametrize('name', BAD)
def test_raise(tmp_path, name):
    content, kind, reason = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadImageError) as error:
        LoadCheckedImage()(dict(img_path=str(tmp_path / name)))
    assert error.value.kind == kind
    for part in (repr(str(tmp_path / name)), reason,
                 "`bad_images` of LoadCheckedImage is 'raise'", "'skip'"):
        assert part in str(error.value)


@pytest.mark.parametrize('name, kind, reason', [
    ('nowhere.jpg', 'missing', 'is not there'),
    ('.', 'unreadable', 'cannot be read: Is a directory')])
def test_no_file(tmp_path, name, kind, reason):
    with pytest.raises(BadImageError, match=reason) as error:
        LoadCheckedImage()(dict(img_path=str(tmp_path / name)))
    assert error.value.kind == kind


def test_results(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(JPEG)
    results = LoadCheckedImage()(dict(img_path=str(tmp_path / 'a.jpg')))
    from mmcv.transforms import LoadImageFromFile
    stock = LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.jpg')))
    assert np.array_equal(results.pop('img'), stock.pop('img'))
    assert results == stock


@pytest.mark.parametrize('name', [
    'a png.jpg', 'größe.png', '日本語.jpg', os.fsdecode(b'caf\xe9.jpg')])
def test_names(tmp_path, name):
    """Any name, and what the name says of the format does not matter."""
    (tmp_path / 'one').mkdir()
    (tmp_path / 'one' / name).write_bytes(file())
    data = DATASETS.build(plain(tmp_path, 'raise'))
    assert len(data) == 1 and data[0]['inputs'].shape == (3, 8, 8)


@pytest.mark.parametrize('wrapped', ['plain', 'few', 'repeated', 'cached'])
def test_replaced_with_its_label(folder, wrapped):
    """Grey is 0 and white is 1, whatever was drawn for a bad image."""
    cfg = plain(folder)
    cfg = dict(
        plain=cfg,
        few=dict(type='repfusion_mm.FewLabels', dataset=cfg),
        repeated=dict(type='RepeatDataset', times=2, dataset=cfg),
        cached=dict(type='repfusion_mm.CachedImages', dataset=cfg))[wrapped]
    data = DATASETS.build(cfg)
    assert len(data) in (20, 40)  # a .gif is not listed
    seen = [data[index] for index in range(len(data))]
    for sample in seen:
        label = int(sample['data_samples'].gt_label)
        assert (sample['inputs'] == (100, 255)[label]).all()
        assert f'/{"ab"[label]}/' in sample['data_samples'].img_path
    assert len(skipped._known) == 14


def test_in_the_unlabelled_part(folder):
    data = DATASETS.build(dict(
        type='repfusion_mm.FewLabels', labels_per_class=1, part='unlabelled',
        dataset=plain(folder)))
    for index in range(len(data)):
        assert data[index]['data_samples'].gt_label == -1


@pytest.mark.parametrize('workers', [0, 2])
def test_error_from_a_worker(folder, workers):
    loader = Runner.build_dataloader(dict(
        batch_size=4, num_workers=workers, dataset=plain(folder, 'raise'),
        sampler=dict(type='DefaultSampler', shuffle=False)))
    with pytest.raises(BadImageError, match="'raise': with 'skip' another"):
        list(loader)


def test_all_are_bad(tmp_path):
    for index in range(3):
        (tmp_path / f'{index}.jpg').write_text('no')
    data = DATASETS.build(plain(tmp_path, with_label=False))
    with pytest.raises(BadImageError, match='1000 images in a row cannot be '
                                            "used; the last one, '.*no image"):
        data[0]


def test_wrong_choice():
    with pytest.raises(ValueError, match="`bad_images` is 'skipp', expected "
                                         "one of.*nearest: 'skip'"):
        LoadCheckedImage('skipp')
    with pytest.raises(ValueError, match='`max_pixels` is 0'):
        LoadCheckedImage(max_pixels=0)
