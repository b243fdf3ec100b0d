import numpy as np
import pytest
from sklearn.datasets import load_digits

from repfusion_mm.registry import DATASETS


@pytest.fixture(scope='module')
def splits():
    return {split: DATASETS.build(dict(type='Digits', split=split))
            for split in ('train', 'val', 'test')}


def infos(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def test_sizes(splits):
    assert [len(splits[s]) for s in ('train', 'val', 'test')] == \
        [1097, 200, 500]


def test_images(splits):
    for dataset in splits.values():
        for info in infos(dataset):
            assert info['img'].dtype == np.uint8
            assert info['img'].shape == (16, 16, 3)
            assert isinstance(info['gt_label'], int)
    everything = np.stack([info['img'] for info in infos(splits['train'])])
    assert everything.min() == 0 and everything.max() == 255
    assert (everything == everything[..., :1]).all()  # grey


def test_every_digit_once(splits):
    # brought back to 8x8, the splits together are scikit-learn's images
    ours = [(info['gt_label'], *info['img'][..., 0].astype(float).reshape(
        8, 2, 8, 2).mean((1, 3)).ravel())
        for dataset in splits.values() for info in infos(dataset)]
    ours = np.array(ours)
    digits = load_digits()
    theirs = digits.images.reshape(-1, 64) / 16 * 255
    assert len(ours) == len(theirs) == 1797
    assert len(np.unique(ours, axis=0)) == len(np.unique(
        np.column_stack([digits.target, digits.data]), axis=0))
    # each of some of ours has exactly one original that looks like it
    for row in ours[::50]:
        same = np.abs(theirs - row[1:]).mean(1)
        assert digits.target[same.argmin()] == row[0]


def test_disjoint(splits):
    seen = [{info['img'].tobytes() for info in infos(dataset)}
            for dataset in splits.values()]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] \
        and not seen[1] & seen[2]


def test_stratified(splits):
    whole = np.bincount(load_digits().target) / 1797
    total = 0
    for dataset in splits.values():
        labels = [info['gt_label'] for info in infos(dataset)]
        counts = np.bincount(labels, minlength=10)
        # no class is off by more than one image
        assert np.abs(counts - whole * len(dataset)).max() <= 1.5
        total = total + counts
    assert (total == np.bincount(load_digits().target)).all()


def test_always_the_same(splits):
    again = DATASETS.build(dict(type='Digits', split='val'))
    for one, two in zip(infos(again), infos(splits['val'])):
        assert one['gt_label'] == two['gt_label']
        assert (one['img'] == two['img']).all()


def test_meta(splits):
    assert splits['test'].metainfo['classes'] == tuple('0123456789')


def test_pipeline():
    dataset = DATASETS.build(dict(
        type='repfusion_mm.Digits', split='val',
        pipeline=[dict(type='mmpretrain.PackInputs')]))
    item = dataset[3]
    assert item['inputs'].shape == (3, 16, 16)
    assert item['data_samples'].gt_label.item() == \
        dataset.get_data_info(3)['gt_label']


def test_wrong_split():
    with pytest.raises(ValueError, match="`split` is 'dev'.*val"):
        DATASETS.build(dict(type='Digits', split='dev'))
