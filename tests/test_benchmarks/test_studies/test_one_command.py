from pathlib import Path

import cv2
import pytest

from benchmarks.studies.one_command import (
    copy_folders,
    summary,
    write_folders,
)
from repfusion_mm.datasets import Digits


def names(folder):
    return sorted(path.name for path in Path(folder).rglob('*.png'))


def test_folders(tmp_path):
    write_folders(tmp_path / 'one', 2, 5)
    write_folders(tmp_path / 'other', 2, 6)
    own, other = (names(tmp_path / one / 'labels' / 'train')
                  for one in ('one', 'other'))
    assert len(own) == len(other) == 20 and own != other
    every = names(tmp_path / 'one' / 'all')
    assert len(every) == 1097 and set(own) < set(every)
    assert len(names(tmp_path / 'one' / 'labels' / 'val')) == 500
    path = next((tmp_path / 'one' / 'labels' / 'train' / '7').iterdir())
    row = Digits('train', pipeline=[]).get_data_info(
        int(path.stem.split('_')[1]))
    assert row['gt_label'] == 7
    assert (cv2.imread(str(path)) == row['img']).all()


def test_summary():
    distilled, scratch, long = summary([
        dict(distilled=80., scratch=60., scratch_long=70.),
        dict(distilled=82., scratch=66., scratch_long=70.)])
    assert distilled['mean'] == 81. and 'gain' not in distilled
    assert scratch['gain'] == 18. and long['gain'] == 11.
    assert long['std'] == 0.
    # Student's t of two: 12.706 standard errors of 1
    assert long['interval'] == pytest.approx([11 - 12.71, 11 + 12.71], abs=.01)


def test_copies(tmp_path):
    for split in ('train', 'test'):
        for name in ('cat', 'dog'):
            folder = tmp_path / 'data' / split / name
            folder.mkdir(parents=True)
            for number in range(12):
                (folder / f'{number:04}.jpg').write_text(f'{split} {name}')
    copy_folders(tmp_path / 'data', tmp_path / 'out', 3, 0)
    found = {place: len(list((tmp_path / 'out' / place).rglob('*.jpg')))
             for place in ('all', 'labels/train', 'labels/val')}
    assert found == {'all': 24, 'labels/train': 6, 'labels/val': 24}
    for place, text in (('labels/train/dog', 'train dog'),
                        ('labels/val/cat', 'test cat')):
        assert {path.read_text() for path in
                (tmp_path / 'out' / place).iterdir()} == {text}
