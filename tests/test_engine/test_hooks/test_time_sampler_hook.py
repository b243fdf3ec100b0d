import json
import os.path as osp

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from repfusion_mm.engine.hooks import TimeSamplerHook

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
UNIFORM = 'configs/demo/repfusion_resnet18_uniform_digits.py'
WEIGHT = {'model.time_sampler.entropy_weight': 0.05,
          'model.time_sampler.look': False}


class Recorder(Hook):
    """The time steps drawn and the sampler's values of each iteration."""
    priority = 'LOWEST'

    def __init__(self):
        self.timesteps, self.weights, self.ends = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        model = runner.model
        self.timesteps.append(model.timesteps.clone())
        self.weights.append(getattr(model.time_sampler, 'entropy_weight',
                                    None))
        self.ends.append(getattr(model.time_sampler, 'max_t', None))


def hook(**cfg):
    return [dict(type='repfusion_mm.TimeSamplerHook', **cfg)]


def decay(attribute='entropy_weight', end=0., **cfg):
    """A hook with one schedule that records each iteration."""
    return hook(schedules=[dict(attribute=attribute, end=end, **cfg)],
                interval=1)


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


@pytest.mark.parametrize('over, steps', [(0.5, 4), (1., 8), (2, 2)])
def test_entropy_weight(run, over, steps):
    recorder, lines, runner = run(
        REINFORCED, 8, custom_hooks=decay(over=over), **WEIGHT)
    wanted = [0.05 * max(0, 1 - i / steps) for i in range(8)]
    assert recorder.weights == pytest.approx(wanted)
    assert [line['entropy_weight'] for line in lines] == pytest.approx(wanted)
    # and it is the weight that the loss has
    losses = runner.message_hub.get_scalar('train/loss_entropy').data[0]
    for loss, weight in zip(losses, wanted):
        assert -loss <= weight * torch.log(torch.tensor(100.)) + 1e-6
    assert losses[0] < 0


def test_schedule_when_resumed(run):
    custom = decay(over=1.)
    run(REINFORCED, 2, custom_hooks=custom, **WEIGHT)
    recorder, _, _ = run(REINFORCED, 4, custom_hooks=custom, resume=True,
                         **WEIGHT)
    assert recorder.weights == pytest.approx([0.05 * 0.5, 0.05 * 0.25])


def test_default_schedule(run):
    # the published one: to zero over the first half
    recorder, lines, _ = run(REINFORCED, 6, custom_hooks=hook(interval=1),
                             **WEIGHT)
    wanted = [0.05 * max(0, 1 - i / 3) for i in range(6)]
    assert recorder.weights == pytest.approx(wanted)
    assert [line['entropy_weight'] for line in lines] == pytest.approx(wanted)


def test_no_schedule(run):
    recorder, lines, _ = run(
        REINFORCED, 2, custom_hooks=hook(schedules=[], interval=1), **WEIGHT)
    assert recorder.weights == [0.05, 0.05]
    assert set(lines[0]) == {'iter', 'mean_t', 'histogram'}


def test_shrinking_range(run):
    recorder, lines, _ = run(UNIFORM, 8,
                             custom_hooks=decay('max_t', 50, over=0.5))
    wanted = [1000, 762, 525, 288, 50, 50, 50, 50]
    assert recorder.ends == wanted
    assert all(type(end) is int for end in recorder.ends)
    assert [line['max_t'] for line in lines] == wanted
    # and it is the range that is drawn from: 16 draws fill most of it
    for drawn, end in zip(recorder.timesteps, wanted):
        assert 0.5 * end < drawn.max() < end


@pytest.fixture
def by_epoch(run, load_config):
    """A training on 20 images, two iterations an epoch."""

    def train(epochs, custom_hooks, **options):
        few = load_config(UNIFORM).train_dataloader.dataset.datasets[1]
        return run(
            UNIFORM, 2, custom_hooks=custom_hooks, **{
                'train_cfg': dict(_delete_=True, by_epoch=True,
                                  max_epochs=epochs),
                'train_dataloader.sampler.type': 'DefaultSampler',
                'train_dataloader.dataset': dict(few.dataset,
                                                 _delete_=True),
                'default_hooks.checkpoint.by_epoch': True,
                'default_hooks.checkpoint.interval': 1,
                'log_processor.by_epoch': True}, **options)

    return train


def test_changes_between_epochs(by_epoch):
    recorder, lines, _ = by_epoch(4, decay('max_t', 200, by_epoch=True))
    wanted = [1000, 1000, 800, 800, 600, 600, 400, 400]
    assert recorder.ends == wanted
    assert [line['max_t'] for line in lines] == wanted


def test_number_of_epochs(by_epoch):
    recorder, _, _ = by_epoch(
        4, decay('max_t', 200, over=2, by_epoch=True))
    assert recorder.ends == [1000] * 2 + [600] * 2 + [200] * 4


def test_changes_within_epochs(by_epoch):
    # not asked to count epochs, it counts iterations in any training
    recorder, _, _ = by_epoch(4, decay('max_t', 200))
    assert recorder.ends == [1000, 900, 800, 700, 600, 500, 400, 300]


def test_epochs_when_resumed(by_epoch):
    custom = decay('max_t', 200, by_epoch=True)
    by_epoch(2, custom)
    recorder, lines, _ = by_epoch(4, custom, resume=True)
    assert recorder.ends == [600, 600, 400, 400]
    assert [line['iter'] for line in lines] == list(range(1, 9))


def refused(load_config, error, match, custom_hooks):
    runner = Runner.from_cfg(load_config(UNIFORM, custom_hooks=custom_hooks))
    with pytest.raises(error, match=match):
        runner.train()
    assert runner.iter == 0


def test_epochs_where_iterations_count(load_config):
    refused(load_config, ValueError, '`schedules.by_epoch`.*'
            '`train_cfg.by_epoch` is False',
            decay('max_t', 50, by_epoch=True))


@pytest.mark.parametrize('name, nearest', [
    ('max_time', 'max_t'), ('entropy_weight', ''), ('training', ''),
    ('forward', '')])
def test_no_such_value(load_config, name, nearest):
    refused(load_config, AttributeError, f"`schedules` names '{name}'.*no "
            f'number of UniformTime; nearest:.*{nearest}', decay(name))


def test_range_of_each_connection(load_config):
    cfg = load_config(UNIFORM, custom_hooks=decay('max_t', 50))
    cfg.model.time_sampler.max_t = [1000, 500]
    cfg.model.connections.append(
        dict(cfg.model.connections[0], student_tap='layer3'))
    with pytest.raises(AttributeError, match="'max_t', which is no number"):
        Runner.from_cfg(cfg).train()


def test_record(run, tmp_path):
    recorder, lines, _ = run(UNIFORM, 6, custom_hooks=hook(interval=3))
    assert [line['iter'] for line in lines] == [3, 6]
    for line, drawn in zip(lines, (recorder.timesteps[:3],
                                   recorder.timesteps[3:])):
        drawn = torch.cat(drawn).double()
        wanted = torch.histc(drawn, 20, 0, 1000) / len(drawn)
        assert line['histogram'] == pytest.approx(wanted.tolist(), abs=1e-4)
        assert line['mean_t'] == pytest.approx(drawn.mean().item(), abs=0.1)
        # a sampler without entropy has no schedule
        assert set(line) == {'iter', 'mean_t', 'histogram'}
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


def test_wrong_share():
    with pytest.raises(ValueError, match='`schedules.over`.*1.5'):
        TimeSamplerHook(schedules=[dict(attribute='max_t', end=50,
                                        over=1.5)])


def test_record_of_several_ranges(run, load_config):
    parts = load_config(UNIFORM).model.connections
    recorder, lines, _ = run(
        UNIFORM, 2, custom_hooks=hook(interval=2), **{
            'model.time_sampler.max_t': [50, 1000],
            'model.time_sampler.min_t': [0, 950],
            'model.connections': [
                parts[0], dict(parts[0], student_tap='layer3')]})
    assert recorder.timesteps[0].shape == (2, 16)
    assert lines[0]['histogram'] == [0.5] + [0.] * 18 + [0.5]
    drawn = torch.cat(recorder.timesteps).double()
    assert lines[0]['mean_t'] == pytest.approx(drawn.mean().item(), abs=0.1)


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


@pytest.mark.parametrize('end, message', [
    (0, '0 <= min_t < max_t, got min_t=0, max_t=0'),
    (2000, "takes 'max_t' to 2000, but the teacher knows 0 to 999")])
def test_end_out_of_range(run, end, message):
    with pytest.raises(ValueError, match=message):
        run(UNIFORM, 2, custom_hooks=hook(
            schedules=[dict(attribute='max_t', end=end)]))


def test_distill_weight(load_config, tmp_path, pipeline_folder):
    """A joint model's distillation fades out."""
    cfg = load_config('configs/demo/resnet18_scratch_digits.py', 4)
    cfg.custom_hooks = hook(
        schedules=[dict(attribute='distill_weight', end=0.)], interval=1)
    cfg.model = dict(
        type='repfusion_mm.JointRepFusion', task=cfg.model,
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.FixedTime', t=100),
        distill_weight=2.,
        connections=[dict(student_tap='backbone.layer4',
                          teacher_tap='mid_block.resnets.1')])
    Runner.from_cfg(cfg).train()
    lines = (tmp_path / 'time_steps.jsonl').read_text().splitlines()
    assert [json.loads(line)['distill_weight'] for line in lines] == \
        pytest.approx([2., 1.5, 1., 0.5])


@pytest.mark.parametrize('schedules', [
    dict(attribute='max_t', end=50), ['max_t'], [dict(attribute='max_t')]])
def test_no_list_of_schedules(schedules):
    with pytest.raises(ValueError, match='`schedules'):
        TimeSamplerHook(schedules=schedules)
