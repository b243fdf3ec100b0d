import json
import multiprocessing
import os

import pytest

from repfusion_mm.datasets.transforms import skipped


@pytest.fixture(autouse=True)
def anew():
    skipped.forget()
    yield
    skipped.forget()


def many(name):
    for index in range(50):
        skipped.add(f'{name}{index}.jpg', 'empty', 'is empty')
        skipped.add('both.jpg', 'empty', 'is empty')


def test_of_several_processes(tmp_path):
    """Each image is there, in whole lines, and hardly any twice."""
    path = str(tmp_path / 'list')
    skipped.add('before.jpg', 'missing', 'is not there')
    skipped.keep_in(path)
    fork = multiprocessing.get_context('fork')
    workers = [fork.Process(target=many, args=(name, )) for name in 'ab']
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = skipped.read(path)
    assert set(found) == {'before.jpg', 'both.jpg', *(
        f'{name}{index}.jpg' for name in 'ab' for index in range(50))}
    assert found['before.jpg'] == dict(
        path='before.jpg', kind='missing', reason='is not there')
    assert len((tmp_path / 'list').read_text().splitlines()) <= 103


def test_each_once_and_after_a_restart(tmp_path):
    path = tmp_path / 'list'
    for _ in range(2):  # as in a resumed training, and by its workers
        skipped.keep_in(str(path))
        for _ in range(3):
            skipped.add('a.jpg', 'empty', 'is empty')
        skipped.forget()
    assert len(path.read_text().splitlines()) == 1


def test_torn_line(tmp_path):
    path = tmp_path / 'list'
    path.write_text(json.dumps(dict(path='a.jpg', kind='x', reason='y'))
                    + '\n{"path": "b')
    assert list(skipped.read(str(path))) == ['a.jpg']


def test_name_that_is_no_text(tmp_path):
    name = os.fsdecode(b'caf\xe9.jpg')
    skipped.keep_in(str(tmp_path / 'list'))
    skipped.add(name, 'empty', 'is empty')
    assert list(skipped.read(str(tmp_path / 'list'))) == [name]


def test_first_one_is_warned_of(capsys, tmp_path):
    from mmengine.logging import MMLogger
    MMLogger.get_instance('skipped')
    skipped.keep_in(str(tmp_path / 'list'))
    for name in 'ab':
        skipped.add(f'{name}.jpg', 'empty', 'is empty')
    said = capsys.readouterr()
    said = said.out + said.err
    assert "'a.jpg' is empty. It is skipped. So are others" in said
    assert str(tmp_path / 'list') in said and 'b.jpg' not in said
