import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats


def test_ratio():
    from benchmarks.speed.timing import ratio
    one, other = [2., 3., 5.], [1., 2., 2.]
    logs = np.log([2, 1.5, 2.5])
    wanted = [logs.mean(), *stats.t.interval(
        0.95, 2, logs.mean(), stats.sem(logs))]
    assert ratio(one, other) == pytest.approx(np.exp(wanted), abs=2e-3)
    assert ratio(one, one) == [1, 1, 1]


@pytest.mark.parametrize('loss', [
    dict(type='repfusion_mm.HintLoss', pool=True),
    dict(type='repfusion_mm.HintLoss', distance='l1', loss_weight=10.)])
def test_published_losses_are_ours(build, repfusion, samples, unet, loss):
    from benchmarks.speed.published_step import PublishedStep
    model = build(repfusion(
        time_sampler=dict(type='repfusion_mm.ReinforcedTime', num_bins=1000,
                          baseline='none',
                          policy=dict(type='repfusion_mm.LeNetPolicy')),
        connections=[dict(student_tap='layer4',
                          teacher_tap='mid_block.resnets.1', loss=loss)]))
    model.init_weights()
    model.train()
    data = dict(inputs=list(torch.randint(256, (4, 3, 16, 16)).byte()),
                data_samples=samples([1, 2, 3, 4]))
    published = PublishedStep(model, unet, dict(lr=0.1))
    ours = model(**model.data_preprocessor(data, True), mode='loss')
    theirs = published.losses(data, model.timesteps)
    assert len(theirs) == 4
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)
    before = published.backbone.conv1.weight.clone()
    published.step(data)
    assert not torch.equal(before, published.backbone.conv1.weight)


@pytest.fixture
def world(monkeypatch):
    """A world where a function tells the seconds of a part's switches."""
    from benchmarks.speed import switch_search
    monkeypatch.setattr(switch_search.gc, 'collect', lambda: 0)

    def set_up(seconds):
        monkeypatch.setattr(
            switch_search, 'Ways',
            lambda pair, device, batch, only, switches: switches)

        def fastest(switches, what):
            (part, one), = switches.items()
            assert what == f'bare_{part}'
            return seconds(one)

        monkeypatch.setattr(switch_search, 'fastest', fastest)
        return switch_search.search

    return set_up


@pytest.mark.parametrize('device, dtypes', [
    ('cpu', dict(teacher={None, 'bfloat16'}, student={None})),
    ('cuda', dict(teacher={None, 'bfloat16', 'float16'},
                  student={None, 'bfloat16', 'float16'}))])
def test_search(world, device, dtypes):
    """Finds what is fastest in a world where each switch has its price."""

    def seconds(one):
        dtype = one.get('dtype') or one.get('amp')
        return 3. - (dtype == 'bfloat16') + 0.5 * one['channels_last'] - (
            0.2 + one['channels_last']) * one.get('compile', False)

    best, tried = world(seconds)({}, device, 2)
    for part, key in (('teacher', 'dtype'), ('student', 'amp')):
        assert {one[key] for one in tried[part]} == dtypes[part]
        assert len(tried[part]) == 2 * len(dtypes[part]) + 2
        wanted = 'bfloat16' if 'bfloat16' in dtypes[part] else None
        assert best[part] == {key: wanted, 'channels_last': True,
                              'compile': True}


def test_search_takes_the_plainest(world):
    """Switches that gain next to nothing are left out."""
    best, _ = world(lambda one: 1. - 0.08 * one['channels_last']
                    - 0.03 * one.get('compile', False))({}, 'cpu', 2)
    for part, key in (('teacher', 'dtype'), ('student', 'amp')):
        assert best[part] == {key: None, 'channels_last': True}


def test_search_survives_what_cannot_run(world):
    """A switch may fail on a machine; the step without any may not."""

    def seconds(one):
        if one.get('compile'):
            raise RuntimeError('no compiler')
        return 1. - 0.2 * one['channels_last']

    best, tried = world(seconds)({}, 'cpu', 2)
    assert best['student'] == dict(amp=None, channels_last=True)
    assert [one for one in tried['student'] if one.get('compile')] == [
        dict(amp=None, channels_last=last, compile=True,
             error='RuntimeError: no compiler') for last in (False, True)]
    from benchmarks.speed.switch_search import search_table
    assert search_table('pair', tried).row_count == 10

    def broken(one):
        raise RuntimeError('no device')

    with pytest.raises(RuntimeError, match='no device'):
        world(broken)({}, 'cpu', 2)


class Device:
    """A GPU that counts how often it is waited for."""

    def __init__(self, device='cuda'):
        self.device, self.waits, self.steps = device, 0, 0
        self.torch = SimpleNamespace(cuda=SimpleNamespace(
            synchronize=self.wait))

    def wait(self):
        self.waits += 1

    def step(self):
        self.steps += 1

    @property
    def names(self):
        return ['step']

    def policy(self):
        return None


def test_gpu_is_waited_for_once_a_turn(monkeypatch):
    from benchmarks.speed import timing
    clock = iter([0., 1.])
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: next(clock))
    device = Device()
    assert timing.turn(device, device.step, 4) == 0.25
    assert (device.steps, device.waits) == (4, 1)


@pytest.mark.parametrize('device, seconds, count', [
    ('cuda', 0.01, 20), ('cuda', 0.05, 4), ('cuda', 3., 1),
    ('cuda', 1e-9, 20), ('cpu', 0.01, 1)])
def test_steps_in_turn(device, seconds, count):
    from benchmarks.speed.timing import steps_in_turn
    assert steps_in_turn(Device(device), seconds) == count


def test_measure_fills_the_turns(monkeypatch):
    """As many steps as the last round of the warm-up says."""
    from benchmarks.speed import throughput
    took, asked = iter([9., 0.05, 0.04, 0.04]), []

    def turn(ways, step, count):
        asked.append(count)
        return next(took)

    monkeypatch.setattr(throughput, 'turn', turn)
    ways = Device()
    ways.step = lambda: lambda: None
    assert throughput.measure(ways, 2, 2) == {'step': [0.04, 0.04]}
    assert asked == [1, 1, 4, 4]


def test_kept(monkeypatch, tmp_path):
    """A run that was stopped has nothing to do again."""
    from benchmarks.speed import throughput
    runs = []

    def part(name, result):

        def run(*args, **kwargs):
            runs.append(name)
            if result is None:
                raise KeyboardInterrupt
            return result

        return run

    def measure(*options):
        args = throughput.parse_args(['--keep', str(tmp_path), *options])
        return throughput.measure_pair('cifar10', args)

    seconds = dict(published=[2., 2.], limit=[1., 1.])
    monkeypatch.setattr(throughput, 'Ways', lambda *_, **__: None)
    for name, result in (('same_losses', 0.), ('measure', seconds),
                         ('peak_memory', None)):
        monkeypatch.setattr(throughput, name, part(name, result))
    monkeypatch.setattr(throughput, 'search', lambda pair, device, batch,
                        keep: (keep('one', 1, part('one', {})), []))
    with pytest.raises(KeyboardInterrupt):
        measure()
    assert runs == ['same_losses', 'one', 'same_losses', 'measure',
                    'peak_memory']
    memory = dict(published=3., limit=4.)
    monkeypatch.setattr(throughput, 'peak_memory', part('memory', memory))
    runs.clear()
    figures = measure()
    assert runs == ['memory']
    assert figures['limit']['peak_memory'] == 4.
    assert figures['limit']['times_published'] == [2, 2, 2]
    assert measure() == figures and runs == ['memory']
    # but not at another batch size
    measure('--batch', '3')
    assert len(runs) == 6


def test_memory_of_a_process_that_failed(monkeypatch):
    from benchmarks.speed import throughput
    monkeypatch.setattr(
        throughput.subprocess, 'run', lambda *_, **__: SimpleNamespace(
            returncode=1, stdout='', stderr='out of memory'))
    args = throughput.parse_args([])
    with pytest.raises(RuntimeError, match='memory of limit.*\nout of mem'):
        throughput.peak_memory('cifar10', args, ['limit'], {})


@pytest.mark.slow
def test_bank_is_filled_in_each_run():
    """What is timed always starts from an empty bank."""
    from benchmarks.speed.pairs import PAIRS
    from benchmarks.speed.ways import STEPS, Ways
    ways = Ways(PAIRS['toy'], 'cpu', 2, 'bank')
    run, passes = ways.bank(), []
    teacher = ways.model.teacher
    teacher.teacher.network.register_forward_pre_hook(
        lambda *_: passes.append(1))
    filled = []
    for _ in range(2):
        passes.clear()
        run()
        filled.append(len(passes))
    assert all(0 < count < STEPS['bank'] for count in filled)


@pytest.mark.slow
def test_published_has_no_switches():
    from benchmarks.speed.pairs import PAIRS
    from benchmarks.speed.ways import Ways
    ways = Ways(
        PAIRS['cifar10'], 'cpu', 1, switches=dict(
            teacher=dict(dtype='bfloat16'),
            student=dict(channels_last=True, compile=True)))
    ours, theirs = ways.model.backbone, ways._published.backbone
    assert 'forward' in vars(ours) and 'forward' not in vars(theirs)
    assert next(ways._published.denoiser.parameters()).dtype == torch.float32
    for one, other in zip(ours.parameters(), theirs.parameters()):
        assert torch.equal(one, other)
        assert other.is_contiguous()


@pytest.mark.slow
def test_peak_memory():
    """A step holds its weights, their gradients and momentum at the least."""
    from benchmarks.speed import throughput
    args = throughput.parse_args(['--batch', '2', '--memory-of', 'train_step',
                                  '--switches', '{}'])
    peak = throughput.peak_on(args)
    ways = throughput.Ways(throughput.PAIRS['cifar10'], 'cpu', 2, 'train_step')
    student = sum(p.nbytes for p in ways.model.parameters())
    teacher = sum(p.nbytes for p in ways.model.teacher.network.parameters())
    assert 3 * student + teacher < peak < 1.3 * (3 * student + teacher)


@pytest.mark.parametrize('difference', [1e-5, 1e-3, float('nan')])
def test_same_losses(monkeypatch, difference):
    from benchmarks.speed import throughput

    class Ways:

        def __init__(self, *_, **__):
            pass

        def same_losses(self):
            return difference

    monkeypatch.setattr(throughput, 'Ways', Ways)
    args = throughput.parse_args([])
    if difference < 1e-4:
        assert throughput.same_losses('cifar10', args, None, 1e-4) == 1e-5
        return
    with pytest.raises(SystemExit, match='differ from the published'):
        throughput.same_losses('cifar10', args, None, 1e-4)


@pytest.mark.slow
def test_guided_diffusion():
    """The class-conditional pair computes the published losses."""
    from benchmarks.speed import throughput
    args = throughput.parse_args(['--batch', '2'])
    assert throughput.same_losses('tiny_imagenet', args, None, 1e-4) < 1e-4


@pytest.mark.slow
def test_command(tmp_path):
    path = tmp_path / 'report.json'
    switches = dict(teacher=dict(dtype='bfloat16'),
                    student=dict(channels_last=True))
    subprocess.run(
        [sys.executable, '-m', 'benchmarks.speed.throughput', '--batch', '2',
         '--rounds', '2', '--warmup', '1', '--switches',
         json.dumps(switches), '--json', str(path)], check=True)
    figures = json.loads(path.read_text())['pairs']['cifar10']
    assert figures['largest_loss_difference'] < 1e-4
    assert figures['largest_loss_difference_switched'] < 0.05
    assert figures['switches'] == switches
    assert 0 < figures['policy_share'][0] < 1
    for way in ('published', 'train_step', 'runner', 'limit', 'bank'):
        assert figures[way]['images_per_second'] > 0
        assert figures[way]['peak_memory'] > 0
