"""A session in slices: what is run, cut off, gone on with and given back."""
import base64
import hashlib
import importlib.util
import io
import json
import os
import select
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
BENCHMARKS = ROOT / 'benchmarks'


class Clock:
    """Seconds that only pass when somebody says so."""

    def __init__(self):
        self.now = 0.

    def __call__(self):
        return self.now


@pytest.fixture
def slices(monkeypatch, tmp_path):
    """Sessions whose commands are minutes that they take, or a failure."""
    from benchmarks.speed import gpu_session
    from benchmarks.speed.gpu_steps import Step
    needed, clock = {}, Clock()

    def run_for(command, log, seconds, environment=None):
        name, folder = command
        took = min(60. * needed[name], seconds) \
            if needed[name] is not None else 60.
        clock.now += took
        log.write_text('the end of it')
        if needed[name] is None:
            return 3
        needed[name] -= took / 60  # what is done is kept
        if needed[name]:
            raise subprocess.TimeoutExpired(command, seconds)
        Path(folder, 'result.json').write_text(json.dumps(dict(of=name)))
        return 0

    monkeypatch.setattr(gpu_session, 'run_for', run_for)

    def slice_of(minutes, least=1.):
        """The session after a slice of so many minutes; names as begun."""
        steps = [Step(name, 5, [name, '{folder}'], least=least)
                 for name in 'abc']
        session = gpu_session.Session(
            tmp_path / 'work', steps, 60 * minutes + gpu_session.RESERVED,
            clock=clock)
        lines = []
        session.run(lines.append)
        return session, [line[0] for line in lines[::2]]

    slice_of.needed, slice_of.clock = needed, clock
    return slice_of


def states(session):
    return [session.state(step)['state'] for step in session.steps]


def test_slices(slices):
    slices.needed.update(a=3, b=11, c=2)
    session, begun = slices(9)
    assert begun == ['a', 'b'] and slices.clock.now == 9 * 60
    assert states(session) == ['done', 'stopped', 'not begun']
    assert [step.name for step in session.left()] == ['b', 'c']
    session, begun = slices(9)
    assert begun == ['b', 'c']
    assert states(session) == ['done'] * 3 and not session.left()
    assert slices.clock.now == 16 * 60
    assert [session.state(step)['minutes'] for step in session.steps] == [
        3, 11, 2]
    assert slices(9)[1] == []


def test_what_failed_comes_last_and_again(slices):
    slices.needed.update(a=None, b=3, c=3)
    session, begun = slices(5)
    assert begun == ['a', 'b', 'c']
    assert states(session) == ['failed', 'done', 'stopped']
    error = session.state(session.steps[0])['error']
    assert 'exit status 3' in error and error.endswith('the end of it')
    slices.needed['a'] = 1
    session, begun = slices(5)
    assert begun == ['c', 'a'] and states(session) == ['done'] * 3


def test_not_begun_without_the_time(slices):
    slices.needed.update(a=3, b=1, c=1)
    session, begun = slices(4.5, least=2)
    assert begun == ['a'] and slices.clock.now == 180
    assert slices(0.1)[1] == []


def test_other_code_is_measured_again(slices, monkeypatch, tmp_path):
    from benchmarks.lib import code_digest
    slices.needed.update(a=1, b=1, c=1)
    assert not slices(9)[0].left()
    package = tmp_path / 'repfusion_mm'
    package.mkdir()
    (package / 'other.py').write_text('')
    monkeypatch.setattr(code_digest, 'PACKAGE', package)
    slices.needed.update(a=1, b=1, c=1)
    assert slices(9)[1] == ['a', 'b', 'c']


def test_a_study_keeps_its_jobs(tmp_path, monkeypatch):
    """With other code it goes on in its folder; what it reported is gone."""
    from benchmarks.lib import code_digest
    from benchmarks.speed import gpu_session
    from benchmarks.speed.gpu_steps import Step, all_steps
    assert [step.name for step in all_steps('') if step.keeps_jobs] == [
        'cifar10']
    package, seen = tmp_path / 'repfusion_mm', []
    package.mkdir()
    monkeypatch.setattr(code_digest, 'PACKAGE', package)

    def run_for(command, log, seconds, environment=None):
        folder = Path(command[0])
        seen.append({path.name for path in folder.iterdir()})
        for name in ('dpm.json', 'result.json'):
            (folder / name).write_text('{}')
        return 0

    monkeypatch.setattr(gpu_session, 'run_for', run_for)
    for code in ('1', '1', '2'):
        (package / 'a.py').write_text(code)
        gpu_session.Session(
            tmp_path / 'work',
            [Step('a', 5, ['{folder}'], keeps_jobs=True)], 1000).run()
    assert seen == [{'job.key'}, {'job.key', 'dpm.json', 'seconds'}]


def test_interrupted(slices, monkeypatch):
    """Somebody stops the session: it is known how far it came."""
    from benchmarks.speed import gpu_session
    slices.needed.update(a=1, b=1, c=1)
    run_for = gpu_session.run_for

    def stopped(*args):
        slices.clock.now += 120
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_session, 'run_for', stopped)
    with pytest.raises(KeyboardInterrupt):
        slices(9)
    monkeypatch.setattr(gpu_session, 'run_for', run_for)
    session, begun = slices(9)
    assert begun == ['a', 'b', 'c']
    assert session.state(session.steps[0])['minutes'] == 3


def test_progress(slices):
    slices.needed.update(a=9, b=1, c=1)
    session, _ = slices(3)
    step = session.steps[0]
    assert session.progress(step) == ''
    jobs = session.folder(step) / 'jobs'
    for name in ('distill', 'dpm'):
        (jobs / name).mkdir(parents=True)
        (jobs / name / 'last_checkpoint').write_text('some/iter_20.pth')
    (jobs / 'dpm.json').touch()
    assert session.progress(step) == ', 1 parts done, distill at iter_20'


# --- commands ---------------------------------------------------------------
CHILDREN = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, '-c',
                          'import signal; signal.pause()'])
print(child.pid, flush=True)
signal.pause()
"""


def test_all_descendants_end():
    from benchmarks.speed.gpu_session import end_group
    process = subprocess.Popen([sys.executable, '-c', CHILDREN], text=True,
                               stdout=subprocess.PIPE, process_group=0)
    child = os.pidfd_open(int(process.stdout.readline()))
    end_group(process)
    assert process.poll() is not None
    # can be read once the child has ended
    assert select.select([child], [], [], 60)[0] == [child]


def test_time_is_over(tmp_path):
    from benchmarks.speed import gpu_session
    with pytest.raises(subprocess.TimeoutExpired):
        gpu_session.run_for(['-c', 'import signal; signal.pause()'],
                            tmp_path / 'log', 0)


def test_exit_status_and_environment(tmp_path):
    from benchmarks.speed import gpu_session
    code = gpu_session.run_for(
        ['-c', 'import os, sys; sys.exit(int(os.environ["WANTED"]))'],
        tmp_path / 'log', 60, {**os.environ, 'WANTED': '7'})
    assert code == 7


# --- what is needed ---------------------------------------------------------
def wheel(folder, name, version):
    """A wheel of one module."""
    info = f'{name}-{version}.dist-info'
    files = {
        f'{name}.py': f'VERSION = "{version}"',
        f'{info}/METADATA': f'Metadata-Version: 2.1\nName: {name}\n'
        f'Version: {version}\nRequires-Dist: nowhere-to-be-found\n',
        f'{info}/WHEEL': 'Wheel-Version: 1.0\nGenerator: test\n'
        'Root-Is-Purelib: true\nTag: py3-none-any\n'}
    hashes = [f'{path},sha256=' + base64.urlsafe_b64encode(hashlib.sha256(
        text.encode()).digest()).decode().rstrip('=') + f',{len(text)}'
        for path, text in files.items()]
    files[f'{info}/RECORD'] = '\n'.join([*hashes, f'{info}/RECORD,,'])
    folder.mkdir(exist_ok=True)
    path = folder / f'{name}-{version}-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_install(tmp_path, monkeypatch):
    from benchmarks.speed.gpu_setup import install
    site, wheels = tmp_path / 'site', tmp_path / 'wheels'
    install(wheels, site)
    assert not site.exists()  # no wheels, nothing to do
    old = wheel(wheels, 'somebody', '1.0')
    install(wheels, site)
    assert 'VERSION = "1.0"' in (site / 'somebody.py').read_text()
    old.unlink()
    wheel(wheels, 'somebody', '2.0')
    install(wheels, site)
    assert 'VERSION = "2.0"' in (site / 'somebody.py').read_text()

    def run(*args, **kwargs):
        raise AssertionError('they are there')

    monkeypatch.setattr(subprocess, 'run', run)
    install(wheels, site)


@pytest.mark.parametrize('says, device, error', [
    ((0, 'noise\ncuda\n', ''), 'cuda', None),
    ((0, 'noise\ncpu\n', ''), 'cpu', None),
    ((0, 'cpu\n', ''), 'cuda', 'no CUDA GPU here; --rehearse'),
    ((1, '', 'No module named \'diffusers\'\n'), 'cuda',
     'diffusers\'\ngather it .*gpu_wheels.sh DIR THERE')])
def test_check(monkeypatch, tmp_path, says, device, error):
    from benchmarks.speed import gpu_setup
    asked = []

    def run(command, **kwargs):
        asked.append(command)
        return subprocess.CompletedProcess(command, *says)

    monkeypatch.setattr(gpu_setup.subprocess, 'run', run)
    if error:
        with pytest.raises(SystemExit, match=error):
            gpu_setup.check({}, tmp_path, device)
        return
    gpu_setup.check({}, tmp_path, device)
    gpu_setup.check({}, tmp_path, device)
    assert len(asked) == 1 and 'mmpretrain' in asked[0][-1]


def test_unpack(tmp_path):
    from benchmarks.speed.gpu_setup import unpack
    assert unpack(tmp_path, tmp_path / 'work') == tmp_path
    with pytest.raises(SystemExit, match='no such folder or archive'):
        unpack(tmp_path / 'images.tar.gz', tmp_path / 'work')
    with tarfile.open(tmp_path / 'images.tar.gz', 'w:gz') as archive:
        info = tarfile.TarInfo('train/cat/0001.jpg')
        info.size = 3
        archive.addfile(info, io.BytesIO(b'cat'))
    folder = unpack(tmp_path / 'images.tar.gz', tmp_path / 'work')
    image = folder / 'train' / 'cat' / '0001.jpg'
    assert image.read_bytes() == b'cat'
    image.write_bytes(b'dog')  # and only once
    assert unpack(tmp_path / 'images.tar.gz', tmp_path / 'work') == folder
    assert image.read_bytes() == b'dog'


def test_arguments(capsys):
    from benchmarks.speed import gpu_session
    args = gpu_session.parse_args(['out', '--steps', 'cifar10'])
    assert args.minutes == 9 and args.out == Path('out').absolute()
    with pytest.raises(SystemExit):
        gpu_session.parse_args(['out', '--steps', 'cifar100'])
    assert "no 'cifar100', the steps are gpu_tests, throughput_cifar10" in \
        capsys.readouterr().err


def test_steps_are_commands():
    """Each step's options are such as its command takes."""
    from benchmarks.speed import data_loading, throughput
    from benchmarks.speed.gpu_steps import all_steps
    from benchmarks.studies import cifar10
    for toy in (False, True):
        for step in all_steps('images', toy):
            flag, name, *options = step.command
            assert flag == '-m' and importlib.util.find_spec(name)
            for module in (cifar10, data_loading, throughput):
                if name == module.__name__:
                    args = module.parse_args(options)
                    device = getattr(args, 'device', 'cuda')
                    assert module is cifar10 or \
                        device == ('cpu' if toy else 'cuda')


# --- the tests that need a GPU ----------------------------------------------
TESTS = """
import os
import pytest

run = os.environ['RUN']

@pytest.mark.gpu
def test_good():
    assert run == 'first', 'not again'

@pytest.mark.gpu
def test_bad():
    assert run == 'second', 'told why'

def test_other():
    assert False
"""
MAIN = """
import sys
from benchmarks.speed import gpu_tests
gpu_tests.versions = dict
sys.exit(gpu_tests.main(sys.argv[1:]))
"""


def test_outcomes(tmp_path):
    (tmp_path / 'test_it.py').write_text(TESTS)
    (tmp_path / 'pytest.ini').write_text('[pytest]\nmarkers =\n    gpu: x\n')

    def run(name):
        done = subprocess.run(
            [sys.executable, '-c', MAIN, str(tmp_path), '-m', 'gpu', '-c',
             str(tmp_path / 'pytest.ini'), str(tmp_path / 'test_it.py')],
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'RUN': name})
        found = json.loads((tmp_path / 'result.json').read_text())
        return done.returncode, found['counts'], {
            name.split('::')[-1]: row for name, row in found['tests'].items()}

    code, counts, tests = run('first')
    assert code == 1 and counts == dict(failed=1, passed=1)
    assert 'told why' in tests['test_bad']['message']
    # what has passed is not run again
    code, counts, tests = run('second')
    assert code == 0 and counts == dict(passed=2)
    assert set(tests) == {'test_good', 'test_bad'}


def test_chosen_tests():
    from benchmarks.speed.gpu_tests import gpu_tests
    _, _, *files = gpu_tests()
    assert any(path.endswith('test_compiled_taps.py') for path in files)
    assert not any(path.endswith('test_paired.py') for path in files)


# --- what is given back -----------------------------------------------------
def test_parts(monkeypatch):
    from benchmarks.speed import gpu_results
    monkeypatch.setattr(gpu_results, 'PART', 1000)
    monkeypatch.setattr(gpu_results, 'MOST', 4000)
    rng = np.random.default_rng(0)
    files = {name: rng.bytes(size) for name, size in
             (('large', 1900), ('small', 500), ('larger', 2500))}
    parts = gpu_results.pack(files)
    assert all(len(part) <= 1000 for part in parts) and 2 < len(parts) <= 4
    with tarfile.open(fileobj=io.BytesIO(b''.join(parts))) as archive:
        found = {name: archive.extractfile(name).read()
                 for name in archive.getnames()}
    assert found == {name: files[name] for name in ('large', 'small')}


def test_results(slices, tmp_path):
    from benchmarks.speed.gpu_results import write_results
    slices.needed.update(a=1, b=None, c=9)
    session, _ = slices(4)
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'results.tar.gz.7').touch()  # of an earlier slice
    write_results(session, out)
    assert sorted(path.name for path in out.iterdir()) == [
        'results.tar.gz.0', 'session.json']
    found = json.loads((out / 'session.json').read_text())
    assert [found[name]['state'] for name in 'abc'] == [
        'done', 'failed', 'stopped']
    with tarfile.open(out / 'results.tar.gz.0') as archive:
        assert json.load(archive.extractfile('a.json')) == dict(of='a')
        assert set(archive.getnames()) == {
            'a.json', 'a_output.txt', 'b_output.txt', 'c_output.txt'}


# --- all of it --------------------------------------------------------------
@pytest.fixture
def images(tmp_path):
    import cv2

    from benchmarks.studies.cifar10 import CLASSES
    rng = np.random.default_rng(0)
    for split, number in (('train', 12), ('test', 4)):
        for name in CLASSES:
            folder = tmp_path / 'images' / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                cv2.imwrite(str(folder / f'{i}.jpg'), rng.integers(
                    0, 256, (32, 32, 3), dtype=np.uint8))
    return tmp_path / 'images'


@pytest.mark.slow
def test_rehearsal(images, tmp_path):
    """Stopped in the middle of the diffusion model, and gone on with."""
    work, out = tmp_path / 'work', tmp_path / 'out'
    command = ['bash', str(BENCHMARKS / 'speed' / 'gpu_session.sh'), str(out),
               '--rehearse', '--data', str(images), '--work', str(work),
               '--wheels', str(tmp_path / 'none'), '--minutes', '30']
    settings = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    text=True, env={
                        **os.environ, 'PYTHON': sys.executable,
                        'OMP_NUM_THREADS': '1'})

    def state(name):
        return json.loads((out / 'session.json').read_text())[name]['state']

    study = work / 'jobs' / 'cifar10'
    first = subprocess.Popen([*command, '--steps', 'cifar10'], **settings)
    while not (study / 'jobs' / 'dpm' / 'last_checkpoint').exists():
        try:
            text, _ = first.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(text)
    first.send_signal(signal.SIGTERM)
    text, _ = first.communicate()
    assert 'left: cifar10, stopped after' in text, text
    assert 'minutes, dpm at iter_' in text
    assert state('cifar10') == 'stopped'
    assert not (study / 'jobs' / 'dpm.json').exists()

    second = subprocess.run(command, **settings)
    assert second.returncode == 0, second.stdout
    assert 'nothing is left' in second.stdout
    assert 'resumed epoch' in (study / 'log.txt').read_text()
    report = json.loads((study / 'report.json').read_text())
    assert [row['seeds'] for row in report['results']] == [[100, 101]] * 3
    for name in ('gpu_tests', 'throughput_toy', 'data_loading', 'cifar10'):
        assert state(name) == 'done'
    with tarfile.open(out / 'results.tar.gz.0') as archive:
        names = set(archive.getnames())
    assert {'gpu_tests.json', 'throughput_toy.json', 'data_loading.json',
            'cifar10.json', 'cifar10.png', 'cifar10_records.jsonl'} < names
