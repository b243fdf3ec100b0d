import json
import subprocess
import sys

import pytest

from benchmarks.speed import many_gpus

MESSAGES = dict(gradients=[30_000_000, 10_000_000], others=[8, 8, 8])


@pytest.fixture
def scaling(monkeypatch):
    from benchmarks.speed import scaling
    return scaling


@pytest.fixture
def assumed(scaling):
    return lambda *options: scaling.parse_args(
        ['--tflops', '10', '--machine-link', '50', '--network-link', '5',
         '--hop', '20', *options])


def test_two_gpus(assumed):
    """Each sends all gradients once; 3.2 TFLOP at 10 TFLOP/s."""
    row = many_gpus.bound(2, 32, MESSAGES, 1e11, assumed())
    assert row['milliseconds'] == pytest.approx(dict(
        computation=320., machine_link=40e6 / 50e9 * 1e3, network_link=0.,
        latency=2 * 2 * 0.02, others=3 * 2 * 0.02))
    assert row['bound_by'] == 'computation'
    assert row['efficiency'] == pytest.approx(
        [320 / (320 + 0.8 + 0.08 + 0.12), 320 / 320.12], abs=1e-3)


def test_two_machines(assumed):
    row = many_gpus.bound(8, 1, MESSAGES, 1e9, assumed('--per-machine', '4'))
    network, machine = 40e6 / 5e9 * 1e3, 2 * 3 / 4 * 40e6 / 50e9 * 1e3
    assert row['milliseconds'] == pytest.approx(dict(
        computation=0.1, machine_link=machine, network_link=network,
        latency=2 * 6 * 0.02, others=3 * 6 * 0.02))
    assert row['bound_by'] == 'network_link'
    links = machine + network + 0.24
    assert row['efficiency'] == pytest.approx(
        [0.1 / (0.1 + links + 0.36), 0.1 / (links + 0.36)], abs=1e-3)


def test_batch_grows_or_is_shared(assumed):
    rows = many_gpus.bounds(MESSAGES, 1e9, assumed(
        '--gpus', '8', '64', '--gpu-batch', '32'))
    assert [(row['gpus'], row['images_a_gpu']) for row in rows] == \
        [(8, 32), (8, 4), (64, 32), (64, 1)]


def test_figures(scaling, assumed):
    args = assumed('--batch', '4', '--processes', '1', '2')
    rows = scaling.figures({1: {True: [2., 4.], False: [2., 4.]},
                            2: {True: [2.5, 5.], False: [2., 4.]}}, args)
    assert rows[1]['images_per_second'] == pytest.approx(4 / 3, abs=1e-2)
    assert rows[1]['times_first'] == [1, 1, 1]
    assert rows[2]['times_first'] == pytest.approx([1.6] * 3)
    assert rows[2]['of_no_exchange'] == pytest.approx([0.8] * 3)


@pytest.mark.slow
def test_command(tmp_path):
    path = tmp_path / 'report.json'
    subprocess.run(
        [sys.executable, '-m', 'benchmarks.speed.scaling', '--batch', '2',
         '--rounds', '2', '--processes', '1', '2', '--json', str(path)],
        check=True)
    report = json.loads(path.read_text())
    for world in '12':
        assert report['processes'][world]['images_per_second'] > 0
    messages = report['messages']
    # a ResNet-18, its projector, the policy and the reward's classifier
    assert sum(messages['gradients']) == messages['parameters']
    assert messages['parameters'] == pytest.approx(46.3e6, rel=0.01)
    assert messages['others'] == [8, 8]
    assert [row['gpus'] for row in report['bounds']] == [8, 8, 64, 64]
