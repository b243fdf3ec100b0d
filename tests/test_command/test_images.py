import os
import shutil
from pathlib import Path

import pytest

from repfusion_mm.command.images import (
    find_images,
    mark_of,
    readable,
    short_side,
    without,
)
from repfusion_mm.command.plan_error import PlanError


def test_any_folders(digits):
    Path(digits, 'notes.txt').write_text('no image')
    found = find_images(digits)
    assert len(found.paths) == 48 and found.paths == sorted(found.paths)
    assert all(Path(path).is_absolute() for path in found.paths)
    assert [Path(path).name for path in found.others] == ['notes.txt']
    assert short_side(found.paths) == 16


def test_of_a_config(digits, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        'train_dataloader = dict(dataset=dict(type="RepeatDataset", times=2, '
        f'dataset=dict(type="CustomDataset", data_root={digits!r}, '
        'with_label=False, pipeline=[])))\ndefault_scope = "mmpretrain"')
    assert find_images(str(config)) == find_images(digits)
    config.write_text('model = dict()')
    with pytest.raises(PlanError, match='a config without '
                       '`train_dataloader`'):
        find_images(str(config))


def test_no_images(tmp_path):
    with pytest.raises(PlanError, match='which is not there'):
        find_images(str(tmp_path / 'nowhere'))
    (tmp_path / 'notes.txt').write_text('no image')
    with pytest.raises(PlanError, match=r'no image file \(1 other files\)'):
        find_images(str(tmp_path))


def test_a_line_break_in_a_name(digits):
    odd = Path(digits, 'a\nb.png')
    shutil.copy(find_images(digits).paths[0], odd)
    found = find_images(digits)
    assert len(found.paths) == 48 and found.others == [str(odd)]


def test_a_name_that_is_no_text(digits):
    odd = os.path.join(os.fsencode(digits), b'caf\xe9.png')
    try:
        shutil.copy(find_images(digits).paths[0], odd)
    except OSError:
        pytest.skip('this file system has no such names')
    found = find_images(digits)
    assert len(found.paths) == 48 and found.others == [os.fsdecode(odd)]


def test_linked_folders(digits, tmp_path):
    (tmp_path / 'links').mkdir()
    Path(tmp_path, 'links', 'all').symlink_to(digits)
    Path(digits, 'circle').symlink_to(digits)
    assert len(find_images(str(tmp_path / 'links')).paths) == 48


def test_broken_ones_are_left_out(digits):
    paths = find_images(digits).paths
    Path(paths[3]).write_bytes(Path(paths[3]).read_bytes()[:100])
    good, bad = readable(paths, 'DATA', 47)
    assert len(good) == 47 and [one.path for one in bad] == [paths[3]]
    with pytest.raises(PlanError, match='47 of 48 images can be read, at '
                       'least 48 are needed; broken are 1 '):
        readable(paths, 'DATA', 48)


def test_copies_are_held_out_too(digits):
    """Under another name, and in another folder."""
    paths = find_images(digits).paths
    copy = Path(digits, 'another.png')
    shutil.copy(paths[5], copy)
    left = without([*paths, str(copy)], [paths[5], paths[7]])
    assert left == [path for path in paths
                    if path not in (paths[5], paths[7])]


def test_mark():
    assert mark_of(['a', 'b']) == mark_of(iter(['a', 'b']))
    assert len({mark_of(names) for names in (['a'], ['a', 'b'], ['ab'])}) == 3


def test_mark_of_another_file(digits):
    paths = find_images(digits).paths
    before = mark_of(paths)
    Path(paths[0]).write_bytes(b'replaced')
    assert mark_of(paths) != before
