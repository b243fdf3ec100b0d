"""Which checkpoint to go on from."""
import os

import pytest
import torch

from repfusion_mm.engine.resuming.whole_checkpoint import (
    check_named,
    settle_last_checkpoint,
    why_unusable,
)


@pytest.fixture
def write(tmp_path):
    """Checkpoints in the order in which they are written."""
    times = iter(range(10**9, 10**9 + 100))

    def write(name, legacy=False):
        path = tmp_path / name
        torch.save(dict(weight=torch.arange(1000.)), path,
                   _use_new_zipfile_serialization=not legacy)
        os.utime(path, (time := next(times), time))
        return path

    return write


def truncate(path, size):
    times = path.stat()
    path.write_bytes(path.read_bytes()[:size])
    os.utime(path, (times.st_atime, times.st_mtime))


def damage(path):
    """One bit, in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_whole_ones(write):
    assert why_unusable(str(write('a.pth'))) is None
    # an older torch's have no checksum, and are left to it
    assert why_unusable(str(write('b.pth', legacy=True))) is None
    assert why_unusable(str(write('a.pth').parent)) is None


def test_every_truncation_is_seen(write):
    path = write('a.pth')
    size = path.stat().st_size
    for left in [*range(0, size, size // 50), size - 1][::-1]:
        truncate(path, left)
        wrong = why_unusable(str(path))
        if left >= 2:
            assert wrong == f'is truncated, with {left:,} bytes'
    assert wrong == 'is empty'


def test_damage_is_seen(write):
    path = write('a.pth')
    damage(path)
    assert "is damaged in its part 'a/data/0'" in why_unusable(str(path))


def settle(tmp_path, pattern='iter_*.pth', write=True):
    settle_last_checkpoint(str(tmp_path), str(tmp_path), pattern, write)
    record = tmp_path / 'last_checkpoint'
    return record.read_text() if record.exists() else None


def test_good_one_is_left_alone(write, tmp_path):
    write('iter_3.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_3.pth'))
    write('iter_6.pth')
    assert settle(tmp_path).endswith('iter_3.pth')


@pytest.mark.parametrize('named', ['', None, 'iter_9.pth', 'gone.pth'])
def test_newest_that_is_whole(write, tmp_path, capfd, named):
    for name in ('iter_3.pth', 'iter_20.pth', 'iter_6.pth', 'iter_9.pth',
                 'best_iter_30.pth', 'epoch_1.pth'):
        write(name)
    truncate(tmp_path / 'iter_9.pth', 500)
    if named is not None:
        (tmp_path / 'last_checkpoint').write_text(
            named and str(tmp_path / named))
    assert settle(tmp_path, write=False) == (
        named and str(tmp_path / named))
    assert settle(tmp_path) == str(tmp_path / 'iter_6.pth')
    said = ''.join(capfd.readouterr())
    assert str(tmp_path / 'iter_6.pth') in said
    if named:
        assert str(tmp_path / named) in said


def test_interrupted_one_counts(write, tmp_path):
    write('iter_3.pth')
    write('interrupted.pth')
    assert settle(tmp_path).endswith('interrupted.pth')


def test_nothing_there(tmp_path):
    assert settle(tmp_path) is None


def test_none_is_whole(write, tmp_path):
    path = write('iter_3.pth')
    truncate(path, 100)
    (tmp_path / 'last_checkpoint').write_text(str(path))
    with pytest.raises(ValueError, match=r'iter_3.pth is truncated, with 100 '
                       'bytes, and no other checkpoint in .* is whole; '
                       'delete .*last_checkpoint to begin anew'):
        settle(tmp_path)


def test_one_that_was_asked_for(write, tmp_path):
    folder, pattern = str(tmp_path), 'iter_*.pth'
    bad = write('iter_3.pth')
    check_named(str(bad), folder, pattern)
    check_named('http://somewhere/else.pth', folder, pattern)
    truncate(bad, 100)
    with pytest.raises(ValueError, match='iter_3.pth: the file is truncated, '
                       'with 100 bytes; no checkpoint in .* is whole'):
        check_named(str(bad), folder, pattern)
    write('iter_1.pth')
    with pytest.raises(ValueError, match='the newest whole one is .*iter_1'):
        check_named(str(bad), folder, pattern)
