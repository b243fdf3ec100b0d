import json
import os.path as osp

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from repfusion_mm.hooks import TimeSamplerHook

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
UNIFORM = 'configs/demo/repfusion_resnet18_uniform_digits.py'
WEIGHT = {'model.time_sampler.entropy_weight': 0.05}


class Recorder(Hook):
    """The time steps drawn and the entropy weight of each iteration."""
    priority = 'LOWEST'

    def __init__(self):
        self.timesteps, self.weights = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        model = runner.model
        self.timesteps.append(model.timesteps.clone())
        self.weights.append(getattr(model.time_sampler, 'entropy_weight',
                                    None))


def hook(**cfg):
    return [dict(type='repfusion_mm.TimeSamplerHook', **cfg)]


@pytest.fixture
def run(load_config, tmp_path):

    def train(path, iters, **options):
        cfg = load_config(path, iters, **options)
        runner, recorder = Runner.from_cfg(cfg), Recorder()
        runner.register_hook(recorder)
        runner.train()
        record = tmp_path / 'time_steps.jsonl'
        lines = record.read_text().splitlines() if record.exists() else []
        return recorder, [json.loads(line) for line in lines], runner

    return train


@pytest.mark.parametrize('decay', [0.5, 1.])
def test_entropy_weight(run, decay):
    recorder, lines, runner = run(
        REINFORCED, 8, custom_hooks=hook(entropy_decay=decay, interval=1),
        **WEIGHT)
    wanted = [0.05 * max(0, 1 - i / (8 * decay)) for i in range(8)]
    assert recorder.weights == pytest.approx(wanted)
    assert [line['entropy_weight'] for line in lines] == pytest.approx(wanted)
    # and it is the weight that the loss has
    losses = runner.message_hub.get_scalar('train/loss_entropy').data[0]
    for loss, weight in zip(losses, wanted):
        assert -loss <= weight * torch.log(torch.tensor(100.)) + 1e-6
    assert losses[0] < 0


def test_entropy_weight_when_resumed(run):
    custom = hook(entropy_decay=1., interval=1)
    run(REINFORCED, 2, custom_hooks=custom, **WEIGHT)
    recorder, _, _ = run(REINFORCED, 4, custom_hooks=custom, resume=True,
                         **WEIGHT)
    assert recorder.weights == pytest.approx([0.05 * 0.5, 0.05 * 0.25])


def test_record(run, tmp_path):
    recorder, lines, _ = run(UNIFORM, 6, custom_hooks=hook(interval=3))
    assert [line['iter'] for line in lines] == [3, 6]
    for line, drawn in zip(lines, (recorder.timesteps[:3],
                                   recorder.timesteps[3:])):
        drawn = torch.cat(drawn).double()
        wanted = torch.histc(drawn, 20, 0, 1000) / len(drawn)
        assert line['histogram'] == pytest.approx(wanted.tolist(), abs=1e-4)
        assert line['mean_t'] == pytest.approx(drawn.mean().item(), abs=0.1)
        assert line['entropy_weight'] is None
    pictures = [file.name for file in tmp_path.rglob('time_steps*.png')]
    assert len(pictures) == 2


@pytest.mark.parametrize('t, bin', [(0, 0), (137, 2), (999, 19)])
def test_record_of_a_fixed_t(run, t, bin):
    _, lines, _ = run(
        UNIFORM, 2, custom_hooks=hook(interval=2),
        **{'model.time_sampler': dict(
            _delete_=True, type='repfusion_mm.FixedTime', t=t)})
    assert lines[0]['histogram'] == [float(i == bin) for i in range(20)]
    assert lines[0]['mean_t'] == t


@pytest.mark.parametrize('dataset', ['plain', 'concatenated'])
def test_nothing_labelled(load_config, tmp_path, dataset):
    cfg = load_config(REINFORCED)
    none = dict(cfg.train_dataloader.dataset.datasets[0], labels_per_class=0)
    cfg.train_dataloader.dataset = none if dataset == 'plain' else dict(
        type='ConcatDataset',
        datasets=[none, dict(type='RepeatDataset', times=2, dataset=none)])
    runner = Runner.from_cfg(cfg)
    with pytest.raises(ValueError, match='ClassificationReward needs some '
                       'labelled images'):
        runner.train()
    assert runner.iter == 0
    assert not osp.exists(tmp_path / 'time_steps.jsonl')


def test_nothing_labelled_without_a_reward(run, load_config):
    none = dict(load_config(UNIFORM).train_dataloader.dataset.datasets[0],
                labels_per_class=0)
    recorder, _, _ = run(UNIFORM, 2, **{
        'train_dataloader.dataset': dict(none, _delete_=True)})
    assert len(recorder.timesteps) == 2


def test_wrong_model(load_config):
    cfg = load_config('configs/demo/resnet18_scratch_digits.py')
    cfg.custom_hooks = hook()
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    with pytest.raises(TypeError, match='`time_sampler`.*ImageClassifier'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('share', [0, -1, 1.5])
def test_wrong_share(share):
    with pytest.raises(ValueError, match='`entropy_decay`'):
        TimeSamplerHook(entropy_decay=share)


def test_another_run_in_the_same_folder(run):
    custom = hook(interval=1)
    run(UNIFORM, 4, custom_hooks=custom)
    _, lines, _ = run(UNIFORM, 2, custom_hooks=custom)
    assert [line['iter'] for line in lines] == [1, 2]


def test_resumed_run_keeps_its_records(run):
    custom = hook(interval=1)
    run(UNIFORM, 2, custom_hooks=custom)
    _, lines, _ = run(UNIFORM, 4, custom_hooks=custom, resume=True)
    assert [line['iter'] for line in lines] == [1, 2, 3, 4]


def test_more_classes_than_the_reward_knows(load_config):
    runner = Runner.from_cfg(load_config(
        REINFORCED, **{'model.reward.num_classes': 9}))
    with pytest.raises(ValueError, match='`reward.num_classes` is 9.*10'):
        runner.train()
    assert runner.iter == 0
