import pytest

from repfusion_mm.command.record import Record


def test_once(tmp_path):
    path = str(tmp_path / 'progress.json')
    calls = []

    def stage():
        calls.append(1)
        return dict(tap='mid_block', t=25)

    for _ in range(2):  # in this process, and in the next
        record = Record(path)
        assert record.once('choice', stage) == dict(tap='mid_block', t=25)
    assert calls == [1]
    assert Record(path).stages['choice']['seconds'] >= 0


def test_what_fails_is_not_finished(tmp_path):
    path = str(tmp_path / 'progress.json')

    def fail():
        raise OSError('the disk is full')

    with pytest.raises(OSError):
        Record(path).once('distill', fail)
    assert Record(path).once('distill', lambda: 'done') == 'done'
