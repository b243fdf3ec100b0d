"""repfusion_mm/analysis/stored_features.py"""
import shutil

import numpy as np
import pytest

from repfusion_mm.analysis.stored_features import StoredFeatures

KEY = dict(timesteps=[3, 40], dataset='some')
COLUMNS = dict(one=(2, ), two=(3, 4))


def test_rows(tmp_path):
    folder = str(tmp_path / 'new')
    stored = StoredFeatures(folder, KEY, 5, COLUMNS)
    rows = np.random.default_rng(0).normal(size=(2, 14)).astype(np.float32)
    prints = np.array([7, 8, 2**32 - 1], np.uint32)
    assert stored.missing(1, [4, 0, 2], prints).all()
    stored.write(1, [4, 2], rows, prints[[0, 2]])
    assert stored.missing(1, [4, 0, 2], prints).tolist() == [
        False, True, False]
    assert stored.missing(0, [4, 2], prints[:2]).all()
    del stored
    again = StoredFeatures(folder, KEY, 5, COLUMNS)  # as after a kill
    assert again.missing(1, [4, 0, 2], prints).tolist() == [
        False, True, False]
    prints[0] = 9  # the image is another one
    assert again.missing(1, [4, 0, 2], prints).tolist() == [True, True, False]
    one, two = (again.of(tap, [2, 4]) for tap in COLUMNS)
    assert list(one) == [3, 40] and len(two) == 2
    np.testing.assert_array_equal(one[40], rows[::-1, :2])
    np.testing.assert_array_equal(two[40], rows[::-1, 2:].reshape(2, 3, 4))


def test_of_something_else(tmp_path):
    StoredFeatures(str(tmp_path), KEY, 5, COLUMNS)
    for key, images, columns, what in (
            (dict(KEY, dataset='other'), 5, COLUMNS, 'dataset'),
            (dict(KEY, timesteps=[3]), 5, COLUMNS, 'timesteps'),
            (KEY, 6, COLUMNS, 'images'),
            (KEY, 5, dict(one=(2, )), 'columns')):
        with pytest.raises(ValueError, match=f'`{what}`: delete the folder'):
            StoredFeatures(str(tmp_path), key, images, columns)


def test_a_full_disk_is_refused_first(tmp_path, monkeypatch, capfd):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(
        free=4 * 2 * 5 * 14 + 4 * 2 * 5 - 1))
    with pytest.raises(OSError, match='needs 0.0 MB.*by `--out`'):
        StoredFeatures(str(tmp_path / 'new'), KEY, 5, COLUMNS)
    assert not list((tmp_path / 'new').iterdir())
