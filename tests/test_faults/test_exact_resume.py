"""Runs that are killed end as those that are not, bit for bit."""
import random
import re

import pytest

from tests.test_faults.jobs import (
    COSINE,
    EMA,
    EVERY,
    SCRATCH,
    SMALL,
    STAGE_1,
    STEPS,
    WORKERS,
)

BANK = 'configs/demo/repfusion_resnet18_bank_digits.py'
DPM = 'configs/demo/dpm_unet_digits.py'


def killed(job, same_end, name, *faults, whole='whole', options=()):
    """Kill a run at each of some moments, and let it come to its end."""
    for number, fault in enumerate(faults):
        code = job.run(name, dict(fault, what='SIGKILL'), number > 0, options)
        assert code == -9, job.said(name)[-3000:]
    job.complete(name, resume=True, options=options)
    same_end(job, name, whole)


def moments(generator, number):
    """Moments in the order of a run, at least one of them in a write."""
    steps = sorted(generator.sample(range(1, STEPS), number))
    faults = [dict(where=generator.choice(
        ('before_step', 'after_step', 'end_of_step')), at=at) for at in steps]
    which = generator.randrange(number)
    # the checkpoint that the step is on its way to
    at = -(-max(steps[which], 1) // EVERY) * EVERY
    faults[which] = dict(
        where=generator.choice(
            ('half_written', 'before_rename', 'after_rename')),
        at=generator.choice([f'iter_{at}.pth', 'last_checkpoint']))
    return faults


def test_killed_three_times(stage_1, same_end):
    killed(stage_1, same_end, 'thrice', *moments(random.Random(0), 3))


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(1, 21))
def test_killed_at_many_moments(stage_1, same_end, seed):
    fault, = moments(random.Random(seed), 1) if seed % 2 else \
        moments(random.Random(seed), 2)[:1]
    killed(stage_1, same_end, f'many{seed}', fault)


@pytest.mark.slow
@pytest.mark.parametrize('where, at', [
    ('after_step', 10), ('before_step', 5), ('end_of_step', 4)])
def test_within_an_epoch(epochs, same_end, where, at):
    killed(epochs, same_end, f'{where}{at}', dict(where=where, at=at))
    # the batches after a resume have the numbers in their epoch
    assert {(one['iter'], one['batch']) for one in
            epochs.seen(f'{where}{at}')} == {(i, i % 5) for i in range(15)}


@pytest.mark.slow
def test_in_the_last_validation(epochs, same_end):
    """It is run again, and finds the same."""
    killed(epochs, same_end, 'validating',
           dict(where='in_validation', at=15))
    values = [re.findall(r'Epoch\(val\) \[3\].*accuracy/top1: (\S+)',
                         epochs.said(name))
              for name in ('whole', 'validating')]
    assert len(values[0]) == 1 and values[0] == values[1]


@pytest.mark.slow
def test_with_a_bank(make_job, same_end):
    """By workers, from an endless order; the bank is filled on the way."""
    job = make_job(BANK, {
        **SMALL, **WORKERS, 'train_cfg.max_iters': STEPS,
        'param_scheduler': COSINE,
        'default_hooks.checkpoint.interval': EVERY})

    def bank(name):
        return [f'model.teacher.bank={job.folder / name}_bank']

    job.complete('whole', options=bank('whole'))
    killed(job, same_end, 'killed', dict(where='after_step', at=4),
           dict(where='half_written', at='iter_9.pth'),
           options=bank('killed'))


@pytest.mark.slow
def test_by_passes_of_a_sampler_that_ends(make_job, same_end):
    """Steps are counted, and the order is one of epochs."""
    job = make_job(SCRATCH, {
        **SMALL, 'train_cfg.max_iters': STEPS, 'param_scheduler': COSINE,
        'train_cfg.val_interval': 100, 'model.head.in_channels': 32,
        'train_dataloader.dataset.times': 2,
        'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True),
        'default_hooks.checkpoint.interval': 4})
    job.complete('whole')
    killed(job, same_end, 'killed', dict(where='after_step', at=9))
    seen = [one['images'][0] for one in job.seen('whole')]
    assert len(set(seen)) > STEPS / 2  # it is shuffled, and cropped


@pytest.mark.slow
def test_dpm(make_job, same_end):
    job = make_job(DPM, {
        'train_dataloader.batch_size': 8, 'train_cfg.max_iters': STEPS,
        'param_scheduler': dict(total_steps=STEPS),
        'model.denoiser.block_out_channels': (8, 16, 16),
        'custom_hooks': [EMA, dict(type='repfusion_mm.DPMExportHook',
                                   num_samples=0)],
        'default_hooks.checkpoint.interval': EVERY})
    job.complete('whole')
    killed(job, same_end, 'killed', dict(where='before_step', at=8))
    files = [job.path(name, 'dpm/unet/diffusion_pytorch_model.safetensors')
             .read_bytes() for name in ('whole', 'killed')]
    assert files[0] == files[1]


@pytest.mark.slow
def test_joint(make_job, same_end):
    """With Mixup, dropout, and a reward of crops and running statistics."""
    job = make_job(STAGE_1, {
        'train_cfg.max_iters': STEPS, 'param_scheduler': COSINE,
        'train_dataloader.batch_size': 8,
        'default_hooks.checkpoint.interval': EVERY,
        'custom_hooks': [
            EMA, dict(type='repfusion_mm.TimeSamplerHook', interval=5)],
        'data_preprocessor': dict(num_classes=10),
        'model': dict(
            _delete_=True, type='repfusion_mm.JointRepFusion',
            task=dict(
                type='mmpretrain.ImageClassifier',
                backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                              base_channels=4),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='StackedLinearClsHead', num_classes=10,
                          in_channels=32, mid_channels=[16],
                          dropout_rate=0.5,
                          loss=dict(type='CrossEntropyLoss', use_soft=True)),
                train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8)])),
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained='configs/demo/dpm_digits'),
            time_sampler=dict(type='repfusion_mm.ReinforcedTime', num_bins=20),
            reward=dict(type='repfusion_mm.ContrastiveReward'),
            connections=[dict(
                student_tap='backbone.layer4',
                teacher_tap='mid_block.resnets.1',
                loss=dict(type='repfusion_mm.HintLoss', pool=True))])})
    job.complete('whole')
    killed(job, same_end, 'killed', dict(where='after_step', at=7))
