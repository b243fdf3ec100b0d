"""What the schedules do to the learning rate, by the real Runner."""
import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import nn

from repfusion_mm.registry import HOOKS


class Line(BaseModel):
    """As little as can be trained."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.norm = nn.BatchNorm1d(1)
        self.pos_embed = nn.Parameter(torch.zeros(1, 1))
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode):
        out = self.norm(self.layer(inputs)) * self.gamma
        return dict(loss=(out + self.pos_embed).square().mean())


class Record(Hook):
    """The learning rate at the first step of each epoch."""
    priority = 'VERY_LOW'

    def __init__(self):
        self.rates = []

    def before_train_epoch(self, runner):
        self.rates += runner.optim_wrapper.get_lr()['lr'][:1]


@pytest.fixture
def train(root, tmp_path):
    """Trains with a schedule, two steps an epoch."""

    def run(name):
        cfg = Config.fromfile(root / f'configs/_base_/schedules/{name}.py')
        record = Record()
        runner = Runner(
            Line(), str(tmp_path),
            train_dataloader=dict(
                batch_size=2,
                dataset=[dict(inputs=torch.ones(1) * i) for i in range(4)],
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='default_collate')),
            train_cfg=cfg.train_cfg, optim_wrapper=cfg.optim_wrapper,
            param_scheduler=cfg.param_scheduler, custom_hooks=[record],
            default_hooks=dict(logger=None, checkpoint=None),
            log_level='WARNING')
        runner.train()
        return record.rates, runner

    return run


@pytest.mark.parametrize('name, steps, epochs', [
    ('sgd_200e', (100, 150), 200), ('sgd_nesterov_200e', (100, 150), 200),
    ('sgd_100e', (30, 60, 90), 100)])
def test_sgd(train, name, steps, epochs):
    rates, runner = train(name)
    wanted = [0.1 * 0.1**sum(epoch >= step for step in steps)
              for epoch in range(epochs)]
    assert rates == pytest.approx(wanted)
    (group, ) = runner.optim_wrapper.param_groups
    assert (group['momentum'], group['weight_decay'], group['nesterov']) == \
        (0.9, 1e-4, name == 'sgd_nesterov_200e')


@pytest.mark.parametrize('name, peak, epochs', [
    ('adamw_200e', 5e-4, 200), ('adamw_100e', 2.5e-4, 100)])
def test_adamw(train, name, peak, epochs):
    rates, runner = train(name)
    assert len(rates) == epochs
    assert rates[0] == pytest.approx(peak / 1000)
    assert max(rates) == pytest.approx(peak) == rates[10]
    assert all(one < two for one, two in zip(rates[:10], rates[1:]))
    assert all(one > two for one, two in zip(rates[10:], rates[11:]))
    # half way through the cosine
    middle = (10 + epochs) // 2
    assert rates[middle] == pytest.approx((peak + 1e-5) / 2)
    # what is no matrix does not decay, nor do positions
    decay = {
        name: group['weight_decay']
        for group in runner.optim_wrapper.param_groups
        for name, p in runner.model.named_parameters()
        if p is group['params'][0]}
    assert decay == {
        'layer.weight': 0.05, 'layer.bias': 0, 'norm.weight': 0,
        'norm.bias': 0, 'gamma': 0, 'pos_embed': 0}


@pytest.fixture
def rates(root):
    """The learning rate at each iteration, without any training."""

    def run(name, steps, per_epoch):
        cfg = Config.fromfile(root / f'configs/_base_/schedules/{name}.py')
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter],
                                    lr=cfg.optim_wrapper.optimizer.lr)
        schedulers = []
        for one in copy.deepcopy(cfg.param_scheduler):
            cls = PARAM_SCHEDULERS.get(one.pop('type'))
            if one.pop('convert_to_iter_based', False):
                schedulers.append(cls.build_iter_from_epoch(
                    optimizer=optimizer, epoch_length=per_epoch, **one))
            else:
                schedulers.append(cls(optimizer=optimizer, **one))
        found = []
        for step in range(steps):
            found.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch or (step + 1) % per_epoch == 0:
                    scheduler.step()
        return found

    return run


def test_segmentation_as_published(rates):
    # 1000 iterations of warm-up to 5e-3, then down to 160k
    found = rates('sgd_160k', 2500, 1000)
    assert found[0] == pytest.approx(5e-4)
    assert found[500] == pytest.approx((5e-4 + 5e-3) / 2, rel=2e-3)
    assert max(found) == pytest.approx(5e-3, rel=2e-3)
    for step in (1001, 2000, 2499):
        share = 1 - (step - 1000) / 159000
        assert found[step] == pytest.approx(
            1e-4 + (5e-3 - 1e-4) * share**0.9, rel=1e-3)


def test_segformer(rates):
    found = rates('adamw_160k', 3000, 1000)
    assert found[0] == pytest.approx(6e-11)
    assert max(found) == pytest.approx(6e-5, rel=2e-3)
    assert found[2999] == pytest.approx(6e-5 * (1 - 1499 / 158500), rel=1e-3)


def test_landmarks_as_published(rates):
    # 500 iterations of warm-up, steps at 40 and 55 of 60 epochs
    found = rates('adam_60e', 6000, 100)
    assert found[0] == pytest.approx(2e-6)
    assert found[250] == pytest.approx(1e-3, rel=1e-2)
    for epoch, rate in ((5, 2e-3), (39, 2e-3), (40, 2e-4), (54, 2e-4),
                        (55, 2e-5), (59, 2e-5)):
        assert found[100 * epoch + 1] == pytest.approx(rate)


def test_rtmpose(rates):
    found = rates('adamw_60e', 6000, 100)
    assert found[0] == pytest.approx(4e-8)
    assert found[1100] == found[2900] == pytest.approx(4e-3)
    assert found[4500] == pytest.approx((4e-3 + 2e-4) / 2, rel=2e-3)
    assert found[5999] == pytest.approx(2e-4, rel=2e-3)


def test_curiosity_as_published(root):
    # 0.1 to 0 over 100 of the 200 epochs
    cfg = Config.fromfile(root / 'configs/_base_/distill/cifar10.py')
    (schedule, ) = HOOKS.build(cfg.custom_hooks[-1]).schedules
    start = cfg.model.time_sampler.entropy_weight
    for epoch, value in ((0, 0.1), (50, 0.05), (100, 0.), (150, 0.)):
        assert schedule.value(start, epoch, 200) == pytest.approx(value)
    assert schedule.attribute == 'entropy_weight' and schedule.by_epoch
