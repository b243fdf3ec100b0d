import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from repfusion_mm.command.choice import default_tap
from repfusion_mm.command.configs import (
    classifier_config,
    distill_config,
    dpm_config,
    dump,
    teacher_config,
)
from repfusion_mm.command.students import STUDENTS
from repfusion_mm.registry import DATASETS


def losses(build, cfg, samples):
    """Of one batch."""
    init_default_scope('mmpretrain')
    model = build(cfg.model)
    if hasattr(model, 'init_weights'):
        model.init_weights()
    data = dict(inputs=[torch.randint(256, (3, 16, 16), dtype=torch.uint8)
                        for _ in range(4)], data_samples=samples([0, 1, 2, 0]))
    return model(**model.data_preprocessor(data, True), mode='loss')


@pytest.mark.parametrize('student', sorted(STUDENTS))
def test_both_stages_of_every_student(make_plan, labels, build, samples,
                                      tmp_path, student):
    """As they are written, and nothing of the config they come from."""
    plan = make_plan(student=student, labels=labels)
    teacher = teacher_config(plan)
    for name, cfg in dict(
            distill=distill_config(plan, teacher, default_tap(teacher), 25),
            classifier=classifier_config(plan, 'scratch', None)).items():
        path = str(tmp_path / f'{name}.py')
        dump(cfg, path)
        assert 'my_images' not in (tmp_path / f'{name}.py').read_text()
        found = losses(build, Config.fromfile(path), samples)
        assert all(torch.isfinite(value).all() for value in found.values())
    assert cfg.model.head.num_classes == 3


@pytest.mark.parametrize('size', [16, 32, 64, 128])
def test_diffusion_models(make_plan, build, size):
    """A middle of at least 2x2; an average that forgets where it began."""
    plan = make_plan(teacher=None, asked_size=size, epochs=10)
    cfg = dpm_config(plan)
    denoiser = cfg.model.denoiser
    assert denoiser.sample_size == min(size, 64)
    levels = len(denoiser.block_out_channels)
    assert levels == len(denoiser.down_block_types) == \
        len(denoiser.up_block_types)
    assert denoiser.sample_size // 2**(levels - 1) >= 4
    assert 'Attn' in denoiser.down_block_types[-1] and \
        'Attn' in denoiser.up_block_types[0]
    model = build(cfg.model)
    loss = model(torch.rand(2, 3, size, size) * 255)['loss_noise']
    assert torch.isfinite(loss)
    steps, momentum = plan.steps['dpm'], cfg.custom_hooks[0].momentum
    assert (1 - momentum)**steps < 1e-4


def test_the_policy_sees_labels(make_plan, labels, build):
    """A quarter of each batch is labelled."""
    from repfusion_mm.registry import DATASETS
    plan = make_plan(labels=labels, time='reinforced')
    teacher = teacher_config(plan)
    cfg = distill_config(plan, teacher, default_tap(teacher), 0)
    assert cfg.model.reward.type == 'repfusion_mm.HeldOutReward'
    keys = cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert keys.time_sampler.lr_mult == 0.1
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    shown = [dataset.get_data_info(number)['gt_label'] >= 0
             for number in range(len(dataset))]
    assert sum(shown) / len(shown) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize('size', [16, 64])
def test_images_of_the_training(make_plan, labels, size):
    """Small ones are shifted, others cropped; flipped unless said."""
    for flip in (True, False):
        plan = make_plan(labels=labels, teacher=None, asked_size=size,
                         flip=flip, out=f'{labels}_{flip}')
        for cfg in (dpm_config(plan), classifier_config(plan, 'scratch', None),
                    distill_config(plan, dict(
                        type='repfusion_mm.UNetTeacher',
                        config=dpm_config(plan).model.denoiser.to_dict()),
                        'mid_block', 25)):
            init_default_scope('mmpretrain')
            dataset = cfg.train_dataloader.dataset
            steps = [step.type for step in dataset.pipeline]
            assert ('RandomFlip' in steps) == flip
            assert ('RandomResizedCrop' in steps) == (size > 32)
            assert DATASETS.build(dataset)[0]['inputs'].shape == \
                (3, size, size)


def test_small_images_are_tested_whole(make_plan, labels):
    """As the student has seen them: no border is cut off, nothing scaled."""
    plan = make_plan(labels=labels)
    assert plan.size == plan.short_side == 16
    init_default_scope('mmpretrain')
    cfg = classifier_config(plan, 'scratch', None)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    path = dataset.get_data_info(0)['img_path']
    assert torch.equal(dataset[0]['inputs'], torch.from_numpy(
        cv2.imread(path)).permute(2, 0, 1))


def test_what_holds_for_all_trainings(make_plan, labels):
    plan = make_plan(labels=labels, teacher=None, seed=7, amp=True)
    trained = teacher_config(make_plan(labels=labels, out=plan.out + '_given'))
    mixed = 'AmpOptimWrapper' if torch.cuda.is_available() else \
        'repfusion_mm.BFloat16OptimWrapper'
    for cfg in (dpm_config(plan), classifier_config(plan, 'scratch', None),
                distill_config(plan, trained, default_tap(trained), 25)):
        assert cfg.randomness.seed == 7
        assert cfg.optim_wrapper.type == mixed
