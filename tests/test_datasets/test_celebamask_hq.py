import doctest
import inspect
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('mmseg')

from repfusion_mm.datasets.celebamask_hq import CelebAMaskHQ
from repfusion_mm.registry import DATASETS

LOAD = [dict(type='mmseg.LoadImageFromFile'),
        dict(type='mmseg.LoadAnnotations')]


@pytest.fixture
def folder(tmp_path):
    """One image of each split; column i of its mask is class i."""
    for split in ('train', 'val', 'test'):
        image = tmp_path / f'images/{split}/7.jpg'
        mask = tmp_path / f'annotations/{split}/7.png'
        for path in (image, mask):
            path.parent.mkdir(parents=True)
        cv2.imwrite(str(image), np.full((4, 19, 3), 90, np.uint8))
        cv2.imwrite(str(mask), np.tile(np.arange(19, dtype=np.uint8), (4, 1)))
    return tmp_path


def build(folder, split='val', **cfg):
    return DATASETS.build(dict(
        type='repfusion_mm.CelebAMaskHQ', data_root=str(folder),
        data_prefix=dict(img_path=f'images/{split}',
                         seg_map_path=f'annotations/{split}'), **cfg))


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_ids_are_the_files(folder, split):
    dataset = build(folder, split, pipeline=LOAD)
    assert len(dataset) == 1
    assert isinstance(dataset, CelebAMaskHQ)
    assert (dataset[0]['gt_seg_map'] == np.arange(19)).all()
    assert len(dataset.metainfo['classes']) == 19
    assert dataset.metainfo['classes'][13] == 'hair'


def test_without_background(folder):
    dataset = build(folder, background=False, pipeline=LOAD)
    assert (dataset[0]['gt_seg_map'] == [255, *range(18)]).all()
    whole = build(folder).metainfo
    assert tuple(dataset.metainfo['classes']) == whole['classes'][1:]
    assert dataset.metainfo['palette'] == whole['palette'][1:]


def test_colours_differ(folder):
    palette = build(folder).metainfo['palette']
    assert len({tuple(colour) for colour in palette}) == 19


def test_sides_are_pairs(folder):
    classes = build(folder).metainfo['classes']
    pairs = [(classes[left], classes[right])
             for left, right in CelebAMaskHQ.SIDES]
    assert pairs == [('l_eye', 'r_eye'), ('l_brow', 'r_brow'),
                     ('l_ear', 'r_ear')]


def test_flip(folder):
    # mirrored, and each side under the other's id
    flip = dict(type='mmseg.RandomFlip', prob=1.,
                swap_seg_labels=CelebAMaskHQ.SIDES)
    found = build(folder, pipeline=[*LOAD, flip])[0]['gt_seg_map'][0]
    wanted = [0, 1, 2, 3, 5, 4, 7, 6, 9, 8, *range(10, 19)][::-1]
    assert found.tolist() == wanted


def test_two_choices(folder):
    with pytest.raises(ValueError, match='`background` is False.*hair'):
        build(folder, background=False, metainfo=dict(classes=('hair', )))


def test_workers_can_have_it(folder):
    # a spawned worker is sent the data set
    again = pickle.loads(pickle.dumps(build(folder, pipeline=LOAD)))
    assert (again[0]['gt_seg_map'] == np.arange(19)).all()


def test_example():
    examples = doctest.DocTestParser().get_examples(CelebAMaskHQ.__doc__)
    names = {}
    for example in examples:
        exec(example.source, names)
    dataset = DATASETS.build(names['dataset'])
    assert len(dataset.metainfo['classes']) == 18
    for name in list(inspect.signature(CelebAMaskHQ).parameters)[:-1]:
        assert f'        {name} (' in CelebAMaskHQ.__doc__


@pytest.mark.slow
def test_looking_up_others_imports_no_mmseg():
    code = ("import sys; from repfusion_mm.registry import DATASETS; "
            "assert DATASETS.get('repfusion_mm.CelebAMaskHQ'); "
            "assert 'mmseg' not in sys.modules")
    subprocess.run([sys.executable, '-c', code], check=True)
