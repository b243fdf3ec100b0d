import json

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from repfusion_mm.engine.hooks import look_first as module

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
FIXED = 'configs/demo/repfusion_resnet18_fixed_digits.py'
BANK = 'configs/demo/repfusion_resnet18_bank_digits.py'
LOOK = {'model.time_sampler.look': True}
AUTO = {'model.time_sampler.t': 'auto'}


class Recorder(Hook):
    """The batches, time steps and losses of each iteration."""

    def __init__(self):
        self.batches, self.timesteps, self.losses = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.batches.append(torch.stack(data_batch['inputs']))
        self.timesteps.append(runner.model.timesteps.clone())
        self.losses.append(float(outputs['loss']))


@pytest.fixture
def run(load_config, tmp_path):

    def train(path, iters=2, **options):
        runner = Runner.from_cfg(load_config(path, iters, **options))
        recorder = Recorder()
        runner.register_hook(recorder)
        runner.train()
        record = tmp_path / 'look.json'
        return recorder, runner, json.loads(record.read_text()) \
            if record.exists() else None

    return train


def test_policy_learns_from_the_look(run, tmp_path):
    recorder, runner, record = run(REINFORCED, **LOOK)
    assert record['rewarded'] == 'labels'
    assert record['t'] == list(range(25, 1000, 50))
    # 5 % of 2 x 16 passes would be none
    assert record['images'] == 20 and record['views'] == 1
    assert record['teacher_passes'] == 20 * 20
    assert record['chosen_t'] in record['t'] and record['seconds'] > 0
    assert len(record['reward']) == len(record['std_error']) == 20
    sampler = runner.model.time_sampler
    found = sampler.found
    assert found.exp().sum() == pytest.approx(1, abs=0.01)
    assert int(found.argmax()) == record['t'].index(record['chosen_t'])
    assert list(tmp_path.rglob('look*.png'))


def test_a_policy_that_does_not_look(run):
    _, runner, record = run(REINFORCED, **{'model.time_sampler.look': False})
    assert record is None
    assert not [key for key in runner.model.state_dict()
                if 'found' in key or 'chosen' in key]


def test_the_training_draws_as_without_it(run, tmp_path):
    looked, runner, record = run(FIXED, 3, **AUTO)
    t = record['chosen_t']
    assert all((drawn == t).all() for drawn in looked.timesteps)
    (tmp_path / 'look.json').unlink()
    plain, _, record = run(FIXED, 3, **{'model.time_sampler.t': t})
    assert record is None
    for one, other in zip(looked.batches, plain.batches):
        assert torch.equal(one, other)
    assert looked.losses == plain.losses


@pytest.mark.parametrize('share, steps, images, views', [
    (0.05, 500, 20, 1),  # 400 passes, 20 a time step
    (0.05, 1500, 20, 3),
    (0.2, 1500, 20, 4),  # no more
    (0.05, 10, 20, 1)])  # no fewer
def test_share_of_the_passes(load_config, monkeypatch, share, steps, images,
                             views):
    seen = []

    def look(teacher, looked, timesteps, *args, **kwargs):
        seen.append((looked.images.shape[:2], timesteps))
        raise InterruptedError

    monkeypatch.setattr(module, 'look', look)
    runner = Runner.from_cfg(load_config(REINFORCED, steps, **{
        'model.time_sampler.look': dict(_delete_=True, share=share)}))
    with pytest.raises(InterruptedError):
        runner.train()
    (shape, timesteps), = seen
    assert shape == (images, views)
    assert images * views * len(timesteps) <= max(
        share * steps * 16, module.LEAST_IMAGES * 20)


@pytest.mark.parametrize('path, options', [(REINFORCED, LOOK), (FIXED, AUTO)])
def test_resumed(run, monkeypatch, path, options):
    _, runner, record = run(path, 2, **options)
    before = {key: value.clone() for key, value
              in runner.model.time_sampler.state_dict().items()
              if key in ('found', 'chosen')}
    assert len(before) == 1

    def look(*args, **kwargs):
        raise AssertionError('looked again')

    monkeypatch.setattr(module, 'look', look)
    recorder, runner, _ = run(path, 4, resume=True, **options)
    assert len(recorder.timesteps) == 2
    after = runner.model.time_sampler.state_dict()
    for key, value in before.items():
        assert torch.equal(after[key], value)
    if path == FIXED:
        assert (recorder.timesteps[0] == record['chosen_t']).all()


def unlabelled(load_config, path, labels=0):
    one = load_config(path).train_dataloader.dataset.datasets[0]
    parts = [dict(one, labels_per_class=labels),
             dict(one, labels_per_class=labels, part='labelled')]
    return {'train_dataloader.dataset': dict(
        _delete_=True, type='ConcatDataset',
        datasets=parts if labels else parts[:1])}


@pytest.mark.parametrize('labels', [0, 1])  # a single one cannot be held out
def test_without_labels(run, load_config, labels):
    _, _, record = run(FIXED, **AUTO, **unlabelled(load_config, FIXED, labels))
    assert record['rewarded'] == 'frequency'
    assert record['images'] == 20 and 'score' not in record


@pytest.mark.parametrize('reward', ['frequency', 'views'])
def test_labels_not_asked(run, reward):
    _, _, record = run(REINFORCED, **{
        'model.time_sampler.look': dict(_delete_=True, reward=reward)})
    assert record['rewarded'] == reward
    assert record['views'] == dict(frequency=1, views=2)[reward]


def test_labels_asked_in_vain(load_config):
    cfg = load_config(FIXED, **AUTO, **unlabelled(load_config, FIXED),
                      **{'model.time_sampler.look': dict(reward='labels')})
    with pytest.raises(ValueError, match="`time_sampler.look.reward` is "
                       "'labels'.*at least 3 labelled"):
        Runner.from_cfg(cfg).train()


def test_bank(run, tmp_path):
    stored = [50, 150, 450]
    recorder, _, record = run(BANK, **AUTO, **{
        'model.teacher.timesteps': stored,
        'model.teacher.bank': str(tmp_path / 'bank')})
    assert record['t'] == stored and record['rewarded'] == 'labels'
    assert (recorder.timesteps[0] == record['chosen_t']).all()


def test_bank_without_labels(run, load_config, tmp_path):
    # averages have no frequencies
    _, _, record = run(BANK, **AUTO, **unlabelled(load_config, BANK), **{
        'model.teacher.timesteps': [50, 150],
        'model.teacher.bank': str(tmp_path / 'bank')})
    assert record['rewarded'] == 'views'


def test_auto_needs_the_hook(load_config):
    cfg = load_config(FIXED, custom_hooks=[], **AUTO)
    with pytest.raises(RuntimeError, match="'auto' and not chosen yet.*"
                       'TimeSamplerHook'):
        Runner.from_cfg(cfg).train()


def test_what_the_first_process_found_goes_to_the_others(run, monkeypatch):
    given = []
    monkeypatch.setattr(module, 'broadcast', given.append)
    _, runner, _ = run(REINFORCED, **LOOK)
    assert len(given) == len(runner.model.time_sampler.state_dict())


def test_another_process_takes_it_over(load_config, monkeypatch):
    chosen = torch.tensor(375)
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    monkeypatch.setattr(module, 'broadcast', lambda one: one.copy_(chosen))
    runner = Runner.from_cfg(load_config(FIXED, **AUTO))
    runner.train()
    assert runner.model.time_sampler.t == 375
