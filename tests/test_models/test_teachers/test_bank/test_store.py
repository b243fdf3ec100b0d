import copy
import multiprocessing
import os
import signal
import zlib

import numpy as np
import pytest

from repfusion_mm.models.teachers.bank.store import FeatureBank, read_key

ROWS = np.random.default_rng(0).normal(size=(10, 6)).astype('<f2')
ALL = np.arange(10)
FORK = multiprocessing.get_context('fork')


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / 'a' / 'bank')


@pytest.fixture
def bank(folder):
    return FeatureBank.create(folder, dict(of='digits'), 10, 6)


def test_rows(bank, folder):
    assert bank.missing.tolist() == ALL.tolist() and not bank.is_full
    some = np.array([7, 2, 3])
    bank.write(some, ROWS[some])
    rows, whole = bank.read(np.array([2, 3, 4, 2]))
    assert whole.tolist() == [True, True, False, True]
    assert (rows[whole] == ROWS[[2, 3, 2]]).all()
    assert bank.missing.tolist() == [0, 1, 4, 5, 6, 8, 9]
    bank.write(ALL, ROWS)
    again = FeatureBank(folder)  # another process, later
    assert again.is_full and len(again.missing) == 0
    assert (again.read(ALL)[0] == ROWS).all()


def test_files(bank, folder):
    # the layout that the docstring tells
    bank.write(ALL[3:5], ROWS[3:5])
    rows = np.fromfile(f'{folder}/features.f16', '<f2').reshape(10, 6)
    assert (rows[3:5] == ROWS[3:5]).all() and not rows[5:].any()
    marks = np.fromfile(f'{folder}/marks.u32', '<u4')
    assert marks.tolist() == [
        0, 0, 0, *(zlib.crc32(row.tobytes()) for row in ROWS[3:5]),
        0, 0, 0, 0, 0]
    assert read_key(folder) == dict(of='digits', entries=10, width=6)
    assert sorted(os.listdir(folder)) == ['bank.json', 'features.f16',
                                          'marks.u32']
    assert os.listdir(os.path.dirname(folder)) == ['bank']  # no draft


@pytest.mark.parametrize('damage', ['no mark', 'half a row', 'other mark'])
def test_torn_rows_heal(bank, folder, damage):
    bank.write(ALL, ROWS)
    with open(f'{folder}/features.f16', 'r+b') as features, \
            open(f'{folder}/marks.u32', 'r+b') as marks:
        if damage == 'no mark':  # killed between row and mark
            marks.seek(4 * 5)
            marks.write(bytes(4))
        elif damage == 'half a row':  # the machine lost power
            features.seek(12 * 5)
            features.write(bytes(6))
        else:  # two writers' rows, mixed
            marks.seek(4 * 5)
            marks.write(b'\1\2\3\4')
    bank = FeatureBank(folder)
    assert bank.missing.tolist() == [5]
    assert bank.is_full == (damage != 'no mark')
    bank.write(ALL[5:6], ROWS[5:6])
    assert bank.read(ALL)[1].all() and (bank.read(ALL)[0] == ROWS).all()


def test_row_of_zeros(bank):
    bank.write(ALL[:1], np.zeros((1, 6), '<f2'))
    assert bank.read(ALL[:2])[1].tolist() == [True, False]


def test_killed_writer(bank, folder, monkeypatch):
    """A process that is killed between a row and its mark."""
    from repfusion_mm.models.teachers.bank import store
    real, calls = store._checksum, []

    def checksum(row):
        calls.append(row)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(row)

    with monkeypatch.context() as patch:
        patch.setattr(store, '_checksum', checksum)
        writer = FORK.Process(target=bank.write,
                              args=(ALL[:5], np.ones((5, 6), '<f2')))
        writer.start()
        writer.join()
    assert writer.exitcode == -signal.SIGKILL
    rows, whole = bank.read(ALL)
    assert whole.tolist() == [True, True] + [False] * 8
    assert (rows[:3] == 1).all()  # the third row is there, and not its mark


def test_several_processes(bank, folder):

    def fill(part):
        own = FeatureBank(folder)
        for _ in range(50):
            own.write(part, ROWS[part])

    writers = [FORK.Process(target=fill, args=(part, ))
               for part in (ALL[:6], ALL[4:])]  # two rows by both
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    rows, whole = bank.read(ALL)
    assert whole.all() and (rows == ROWS).all()


def test_created_twice(bank, folder):
    # the second process finds the first one's, rows and all
    bank.write(ALL, ROWS)
    other = FeatureBank.create(folder, dict(of='faces'), 20, 6)
    assert other.key['of'] == 'digits' and other.is_full
    assert os.listdir(os.path.dirname(folder)) == ['bank']


def test_copies_share_the_files(bank):
    assert copy.deepcopy(dict(bank=bank))['bank'] is bank


def test_disk_use_is_told_first(folder, monkeypatch):
    from repfusion_mm.models.teachers.bank import store
    told = []

    def note(message, *args, **kwargs):
        told.append((message, os.path.exists(folder)))

    monkeypatch.setattr(store, 'print_log', note)
    FeatureBank.create(folder, {}, 100_000, 256)
    (message, written), = told
    assert '51.6 MB' in message and folder in message and not written
    # what is on disk is as large, and not more
    sizes = [os.path.getsize(f'{folder}/{name}')
             for name in ('features.f16', 'marks.u32')]
    assert sum(sizes) == 51_600_000


def test_small_disk(folder):
    with pytest.raises(OSError, match='needs 5,160,000,000.0 MB, but .* free'):
        FeatureBank.create(folder, {}, 10**13, 256)
    assert not os.path.exists(folder)


def test_other_folder(tmp_path):
    (tmp_path / 'letter.txt').write_text('Dear')
    with pytest.raises(ValueError, match='bank.json: this is no feature bank'):
        FeatureBank(str(tmp_path))
    assert read_key(str(tmp_path / 'nothing')) is None


@pytest.mark.parametrize('name', ['features.f16', 'marks.u32'])
@pytest.mark.parametrize('shorter', [True, False])
def test_damaged_files(bank, folder, name, shorter):
    path = f'{folder}/{name}'
    if shorter:
        os.truncate(path, os.path.getsize(path) - 1)
    else:
        os.remove(path)
    with pytest.raises(ValueError, match=f'damaged: .*{name}'):
        FeatureBank(folder)
