import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_ratio():
    from throughput import ratio
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
    from published_step import PublishedStep
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


@pytest.mark.parametrize('device, dtypes', [
    ('cpu', dict(teacher={None, 'bfloat16'}, student={None})),
    ('cuda', dict(teacher={None, 'bfloat16', 'float16'},
                  student={None, 'bfloat16', 'float16'}))])
def test_search(monkeypatch, device, dtypes):
    """Finds what is fastest in a world where each switch has its price."""
    import throughput
    monkeypatch.setattr(throughput, 'Ways',
                        lambda pair, device, batch, only, switches: switches)

    def seconds(switches, what):
        (part, one), = switches.items()
        assert what == f'bare_{part}'
        dtype = one.get('dtype') or one.get('amp')
        return 3. - (dtype == 'bfloat16') + 0.5 * one['channels_last'] - (
            0.2 + one['channels_last']) * one.get('compile', False)

    monkeypatch.setattr(throughput, 'fastest', seconds)
    best, tried = throughput.search({}, device, 2)
    for part, key in (('teacher', 'dtype'), ('student', 'amp')):
        assert {one[key] for one in tried[part]} == dtypes[part]
        assert len(tried[part]) == 2 * len(dtypes[part]) + 2
        wanted = 'bfloat16' if 'bfloat16' in dtypes[part] else None
        assert best[part] == {key: wanted, 'channels_last': True,
                              'compile': True}


def test_search_takes_the_plainest(monkeypatch):
    """Switches that gain next to nothing are left out."""
    import throughput
    monkeypatch.setattr(throughput, 'Ways',
                        lambda pair, device, batch, only, switches: switches)

    def seconds(switches, what):
        (one, ) = switches.values()
        return 1. - 0.08 * one['channels_last'] - 0.03 * one.get(
            'compile', False)

    monkeypatch.setattr(throughput, 'fastest', seconds)
    best, _ = throughput.search({}, 'cpu', 2)
    for part, key in (('teacher', 'dtype'), ('student', 'amp')):
        assert best[part] == {key: None, 'channels_last': True}


@pytest.mark.slow
def test_published_has_no_switches():
    import throughput
    ways = throughput.Ways(
        throughput.PAIRS['cifar10'], 'cpu', 1, switches=dict(
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
    import throughput
    args = throughput.parse_args(['--batch', '2', '--memory-of', 'train_step',
                                  '--switches', '{}'])
    peak = throughput.peak_on(args)
    ways = throughput.Ways(throughput.PAIRS['cifar10'], 'cpu', 2, 'train_step')
    student = sum(p.nbytes for p in ways.model.parameters())
    teacher = sum(p.nbytes for p in ways.model.teacher.network.parameters())
    assert 3 * student + teacher < peak < 1.3 * (3 * student + teacher)


@pytest.mark.parametrize('difference', [1e-5, 1e-3, float('nan')])
def test_same_losses(monkeypatch, difference):
    import throughput

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
    import throughput
    args = throughput.parse_args(['--batch', '2'])
    assert throughput.same_losses('tiny_imagenet', args, None, 1e-4) < 1e-4


@pytest.mark.slow
def test_command(tmp_path):
    path = tmp_path / 'report.json'
    switches = dict(teacher=dict(dtype='bfloat16'),
                    student=dict(channels_last=True))
    subprocess.run(
        [sys.executable, str(BENCHMARKS / 'throughput.py'), '--batch', '2',
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
