import fcntl
import json
import sys
import warnings

import pytest


@pytest.fixture
def module():
    from benchmarks.lib import plan
    return plan


class Job:
    """Counts how often it is run."""

    def __init__(self, result=None):
        self.result, self.runs = result, 0

    def __call__(self):
        self.runs += 1
        return self.result


def test_once(module, tmp_path):
    job = Job([71.5, 'a.pth'])
    first = module.Plan(tmp_path).once('name', 'stage', ['x', 'y'], job)
    assert first[0] == [71.5, 'a.pth'] and job.runs == 1
    # another process, later
    again = module.Plan(tmp_path).once('name', 'stage', ['x', 'y'], job)
    assert again == first and job.runs == 1


def test_other_inputs(module, tmp_path):
    job = Job(1)
    keys = [module.Plan(tmp_path, *more).once('name', 'stage', inputs, job)[1]
            for more, inputs in [((), ['x']), ((), ['z']), ((), ['z', '']),
                                 ((b'data', ), ['z'])]]
    assert job.runs == 4 and len(set(keys)) == 4
    module.Plan(tmp_path, b'data').once('name', 'stage', ['z'], job)
    assert job.runs == 4


def test_other_code(module, tmp_path, monkeypatch):
    package = tmp_path / 'repfusion_mm' / 'models'
    package.mkdir(parents=True)
    (package / 'loss.py').write_text('x = 1')
    from benchmarks.lib import code_digest
    monkeypatch.setattr(code_digest, 'PACKAGE', package.parent)
    job, out = Job(1), tmp_path / 'out'
    module.Plan(out).once('name', 'stage', [], job)
    module.Plan(out).once('name', 'stage', [], job)
    assert job.runs == 1
    (package / 'loss.py').write_text('x = 2')
    module.Plan(out).once('name', 'stage', [], job)
    assert job.runs == 2


def test_code_behind_a_config(module, tmp_path, monkeypatch):
    """Of a job with a config, no other code counts."""
    code = dict(a=1, b=1)
    monkeypatch.setattr(module, 'package_digest', lambda: str(code))
    monkeypatch.setattr(
        module, 'code_digest', lambda config, *scripts: str(
            [code[config], [script.name for script in scripts]]))
    job = Job(1)

    def once(config, *tools):
        module.Plan(tmp_path).once('name', 'stage', [], job, config, tools)
        return job.runs

    assert once('a', 'train') == 1
    code['b'] = 2
    assert once('a', 'train') == 1
    code['a'] = 2
    assert once('a', 'train') == 2
    assert once('b', 'train') == 3  # another config with the same code
    assert once('b', 'train', 'test') == 4
    assert once(None) == 5
    code['b'] = 3
    assert once(None) == 6


def test_job_that_starts_from_another(module, tmp_path):
    first, second = Job('weights.pth'), Job(80.)

    def study(cfg):
        plan = module.Plan(tmp_path)
        _, after = plan.once('first', 'a', [cfg], first)
        plan.once('second', 'b', ['same', after], second)

    study('x')
    study('x')
    assert (first.runs, second.runs) == (1, 1)
    study('y')
    assert (first.runs, second.runs) == (2, 2)


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_interrupted(module, tmp_path, error):
    plan = module.Plan(tmp_path)

    def stopped():
        raise error

    with pytest.raises(error):
        plan.once('name', 'stage', [], stopped)
    assert not list(plan.jobs.glob('*.json'))
    job = Job(1)
    plan.once('name', 'stage', [], job)
    assert job.runs == 1


def test_interrupted_while_it_is_recorded(module, tmp_path, monkeypatch):
    job, plan = Job(1), module.Plan(tmp_path)

    def stopped(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.os, 'replace', stopped)
        with pytest.raises(KeyboardInterrupt):
            plan.once('name', 'stage', [], job)
    assert not list(plan.jobs.glob('*.json'))
    assert plan.once('name', 'stage', [], job)[0] == 1
    assert job.runs == 2
    assert {path.name for path in plan.jobs.glob('name.*')} == {
        'name.json', 'name.lock'}


def test_seconds(module, tmp_path, monkeypatch):
    clock = iter([0., 3., 10., 14., 20., 21.])
    monkeypatch.setattr(module.time, 'time', lambda: next(clock))
    plan = module.Plan(tmp_path)
    for name, stage in (('a', 'distill'), ('b', 'distill'), ('c', 'test')):
        plan.once(name, stage, [], Job(1))
    assert plan.seconds == dict(distill=7., test=1.)
    # finished jobs count with the time that they took, once
    plan = module.Plan(tmp_path)
    plan.once('b', 'distill', [], Job(1))
    plan.once('b', 'distill', [], Job(1))
    assert plan.seconds == dict(distill=4.)
    assert json.loads((plan.jobs / 'b.json').read_text())['seconds'] == 4.


def test_quiet(module, tmp_path, capsys):
    plan = module.Plan(tmp_path)

    def chatty():
        print('epoch 1')
        print('careful', file=sys.stderr)
        warnings.warn('never mind', stacklevel=1)

    plan.once('a', 'stage', [], chatty)
    plan.once('b', 'stage', [], chatty)
    print('done')
    assert capsys.readouterr() == ('done\n', '')
    assert (tmp_path / 'log.txt').read_text() == 'epoch 1\ncareful\n' * 2


def test_a_stopped_training_goes_on(module, tmp_path):
    plan = module.Plan(tmp_path)
    seen = []

    def training(stop):

        def run():
            folder, resume = plan.work_dir('name')
            seen.append((sorted(path.name for path in folder.iterdir()),
                         resume))
            (folder / 'iter_1.pth').touch()
            (folder / 'last_checkpoint').touch()
            if stop:
                raise KeyboardInterrupt

        return run

    with pytest.raises(KeyboardInterrupt):
        plan.once('name', 'stage', ['x'], training(True))
    plan.once('name', 'stage', ['x'], training(False))
    # but not what was stopped with other inputs
    plan.once('name', 'stage', ['y'], training(False))
    left = ['iter_1.pth', 'job.key', 'last_checkpoint']
    assert seen == [(['job.key'], []), (left, ['--resume']),
                    (['job.key'], [])]


def test_tool(module):
    with pytest.raises(SystemExit) as done:
        module.tool('train')(['--help'])
    assert done.value.code == 0


def test_records_outlive_the_machine(module, tmp_path):
    job, weights = Job(80.), Job('weights.pth')

    def study(out, records=None, key='x'):
        plan = module.Plan(tmp_path / out, records=records)
        return plan.once('score', 'test', [key], lambda _: job(),
                         before=weights, record=True), plan

    (first, key), plan = study('one')
    record = plan.out / 'records.jsonl'
    line = json.loads(record.read_text())
    assert (line['name'], line['key'], line['result']) == ('score', key, 80.)
    # elsewhere: neither it nor what it starts from is run again
    kept = record.rename(tmp_path / 'kept.jsonl')
    (again, _), plan = study('two', kept)
    assert again == first and (job.runs, weights.runs) == (1, 1)
    assert plan.seconds == {'test': line['seconds']}
    # its own records hold it too, once
    study('two', kept)
    assert (plan.out / 'records.jsonl').read_text() == kept.read_text()
    # of a job with other inputs it says nothing
    study('two', kept, 'y')
    assert (job.runs, weights.runs) == (2, 2)
    # and without a record, or with one that is not there, it is run
    study('three')
    study('four', tmp_path / 'none.jsonl')
    assert (job.runs, weights.runs) == (4, 4)


def test_only_what_is_asked_for_is_recorded(module, tmp_path):
    plan = module.Plan(tmp_path)
    plan.once('weights', 'distill', [], Job('weights.pth'))
    assert not (tmp_path / 'records.jsonl').exists()


def test_a_finished_job_that_was_not_recorded(module, tmp_path):
    plan = module.Plan(tmp_path)
    plan.once('a', 'test', [], Job(1), record=True)
    plan.once('b', 'test', [], Job(2), record=True)
    record = tmp_path / 'records.jsonl'
    before = record.read_text().splitlines()
    record.write_text(before[1] + '\n')  # killed before it wrote the first
    plan.once('a', 'test', [], Job(1), record=True)
    assert sorted(record.read_text().splitlines()) == sorted(before)


def test_seconds_of_a_job_are_its_own(module, tmp_path, monkeypatch):
    clock = iter([0., 5., 10., 11.])
    monkeypatch.setattr(module.time, 'time', lambda: next(clock))
    plan = module.Plan(tmp_path)
    plan.once('second', 'finetune', [], lambda given: given,
              before=lambda: plan.once('first', 'distill', [], Job(1))[0])
    assert plan.seconds == dict(distill=5., finetune=1.)


def test_a_job_is_locked_while_it_is_looked_up_and_run(module, tmp_path,
                                                       monkeypatch):
    """So another process that shares the folder waits, and then finds it."""
    plan, locked = module.Plan(tmp_path), []
    finished = plan.finished

    def try_lock():
        with open(plan.jobs / 'name.lock', 'w') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(False)
            except BlockingIOError:
                locked.append(True)

    def look_up(*args):
        try_lock()
        return finished(*args)

    monkeypatch.setattr(plan, 'finished', look_up)
    plan.once('name', 'stage', [], try_lock)
    plan.once('name', 'stage', [], try_lock)
    assert locked == [True, True, True]
    try_lock()
    assert not locked[-1]


def test_a_finished_job_needs_no_lock(module, tmp_path):
    """Many processes ask for one at once, and none of them waits."""
    job, plan = Job(7), module.Plan(tmp_path)
    plan.waits = False
    with module.locked(plan.jobs / 'name.lock'):
        with pytest.raises(BlockingIOError):
            plan.once('name', 'stage', [], job)
    assert not job.runs
    plan.once('name', 'stage', [], job)
    with module.locked(plan.jobs / 'name.lock'):
        assert plan.once('name', 'stage', [], job)[0] == 7
    assert job.runs == 1
