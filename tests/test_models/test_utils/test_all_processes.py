"""Several processes together learn what one would from the whole batch."""
import copy
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from repfusion_mm.models.utils import all_processes
from repfusion_mm.models.utils.all_processes import masked_mean, sum_of_all
from repfusion_mm.models.utils.building import build_part

TAP = 'mid_block.resnets.1'
REINFORCED = dict(type='repfusion_mm.ReinforcedByImage', num_bins=10,
                  policy=dict(type='repfusion_mm.LeNetPolicy', image_size=16))


def test_of_a_single_process():
    values = torch.tensor([1., 0., 5.], requires_grad=True)
    mask = torch.tensor([True, False, True])
    assert masked_mean(values, mask) == 3
    nothing = masked_mean(values * 0, mask & False)
    assert nothing == 0 and nothing.requires_grad
    assert sum_of_all(values[0], values[2]).tolist() == [1, 5]
    assert not sum_of_all(values[0]).requires_grad


@pytest.mark.parametrize('sizes', [(3, 1), (4, 0), (0, 2), (0, 0)])
def test_shares_average_to_the_mean(monkeypatch, sizes):
    values = [torch.randn(4) for _ in sizes]
    masks = [torch.arange(4) < size for size in sizes]
    monkeypatch.setattr(all_processes, 'get_world_size', lambda: 2)
    shares = []
    for one, other in ((0, 1), (1, 0)):
        monkeypatch.setattr(all_processes, 'all_reduce',
                            lambda sums, other=other: sums.add_(sizes[other]))
        shares.append(masked_mean(values[one] * masks[one], masks[one]))
    inside = torch.cat(values)[torch.cat(masks)]
    wanted = inside.mean() if len(inside) else torch.tensor(0.)
    torch.testing.assert_close(sum(shares) / 2, wanted)


@pytest.mark.parametrize('name', [
    'HintLoss', 'CosineLoss', 'AttentionTransferLoss', 'SoftLabelLoss',
    'AttentiveFeatureLoss'])
def test_losses_of_halves_average(name):
    """What is a mean over images needs no word between processes."""
    loss = build_part('loss', dict(type=f'repfusion_mm.{name}'), channels=5)
    student, teacher = torch.randn(2, 8, 5, 4, 4)
    halves = [loss(student[half], teacher[half])
              for half in (slice(4), slice(4, 8))]
    torch.testing.assert_close(sum(halves) / 2, loss(student, teacher))


def load(root, path):
    spec = importlib.util.spec_from_file_location(
        'loaded_' + path.replace('/', '_')[:-3], root / 'tests' / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def one_process(root):
    return load(root, 'test_models/one_process.py')


def stage_one(folder, **parts):
    model = dict(
        type='repfusion_mm.RepFusion',
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor',
                               mean=[127.5] * 3, std=[127.5] * 3),
        backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18,
                      stem_channels=4, base_channels=4),
        teacher=dict(type='repfusion_mm.UNetTeacher', pretrained=folder),
        time_sampler=dict(type='repfusion_mm.FixedTime', t=30),
        connections=[dict(student_tap='layer4', teacher_tap=TAP,
                          loss=dict(type='repfusion_mm.HintLoss'))])
    model.update(parts)
    return model


def reinforced(folder, reward='ClassificationReward', **parts):
    more = dict(hidden=(8, )) if reward == 'ClassificationReward' else {}
    return stage_one(
        folder, time_sampler=REINFORCED,
        reward=dict(type=f'repfusion_mm.{reward}', num_classes=10, **more),
        **parts)


@pytest.fixture(scope='module')
def cases(root, pipeline_folder):
    """Name -> config of a model and a batch of eight, four a process."""
    joint = load(root, 'test_models/test_distillers/test_joint_repfusion.py')
    uneven = [1, 2, 3, -1, -1, 5, -1, -1]
    absent = [1, 2, 3, 4, -1, -1, -1, -1]
    single = [-1, -1, -1, -1, 3, -1, -1, -1]
    nowhere = [-1] * 8
    cases = {}

    def add(name, model, labels, task='cls', side=16, **more):
        generator = torch.Generator().manual_seed(3)
        inputs = [torch.randint(256, (3, side, side), generator=generator,
                                dtype=torch.uint8) for _ in labels]
        samples = joint.TASKS[task][1](labels)
        cases[name] = dict(model=model, batch=dict(
            inputs=inputs, data_samples=samples), **more)

    add('fixed', stage_one(pipeline_folder), uneven)
    add('fixed l1 pooled', stage_one(pipeline_folder, connections=[
        dict(student_tap='layer4', teacher_tap=TAP,
             loss=dict(type='repfusion_mm.HintLoss', pool=True,
                       distance='l1'))]), uneven)
    for name, labels in dict(even=[1, 2, -1, -1, 5, 6, -1, -1], uneven=uneven,
                             absent=absent, single=single,
                             nowhere=nowhere).items():
        add(f'reinforced {name}', reinforced(pipeline_folder), labels)
    add('no baseline', reinforced(pipeline_folder) | dict(
        time_sampler=dict(REINFORCED, baseline='none')), uneven)
    add('progress', reinforced(pipeline_folder, 'StudentProgressReward'),
        uneven)
    # layer4 is run, and nothing is asked of it
    middle = [dict(student_tap='layer3', teacher_tap=TAP,
                   loss=dict(type='repfusion_mm.HintLoss'))]
    add('unused', stage_one(pipeline_folder, connections=middle), uneven,
        find_unused_parameters=True)

    for task, (config, _) in joint.TASKS.items():
        model = dict(
            type='repfusion_mm.JointRepFusion', task=config(),
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder),
            time_sampler=dict(type='repfusion_mm.FixedTime', t=30),
            connections=[dict(student_tap='backbone.layer4', teacher_tap=TAP,
                              loss=dict(type='repfusion_mm.HintLoss'))])
        for name, labels in dict(uneven=uneven, absent=absent,
                                 nowhere=nowhere).items():
            labels = [min(label, 4) for label in labels]
            add(f'joint {task} {name}', model, labels, task, 32)
    add('joint reinforced', model | dict(
        task=joint.classifier(), time_sampler=REINFORCED, reward=dict(
            type='repfusion_mm.ClassificationReward', num_classes=10)),
        absent, 'cls', 32)
    add('joint segmentation reward', model | dict(
        task=joint.segmentor(), time_sampler=REINFORCED, reward=dict(
            type='repfusion_mm.SegmentationReward', num_classes=5)),
        [min(label, 4) for label in uneven], 'seg', 32)

    add('joint keypoint reward', model | dict(
        task=joint.pose_estimator(), time_sampler=REINFORCED, reward=dict(
            type='repfusion_mm.KeypointReward', num_keypoints=5)),
        uneven, 'pose', 32)
    for sample in cases['joint keypoint reward']['batch']['data_samples']:
        sample.gt_instances = InstanceData(
            transformed_keypoints=np.random.default_rng(0).uniform(
                0, 32, (1, 5, 2)), keypoints_visible=np.ones((1, 5)))

    # batch norms behind a map of one pixel: one labelled image for them all
    pooling = joint.segmentor()
    pooling['decode_head'].update(type='PSPHead')
    pooling['decode_head'].pop('num_convs')
    for name, labels in dict(
            single=[-1, 3, -1, -1, -1, -1, -1, -1],
            nowhere=nowhere).items():
        add(f'pooling {name}', model | dict(task=pooling, connections=[
            dict(student_tap='backbone.layer4', teacher_tap=TAP)]),
            labels, 'seg', 32, norms=True)

    add('accumulated', stage_one(pipeline_folder), uneven,
        accumulative_counts=2)
    # the last: it leaves the others' gradients waiting
    add('refused', stage_one(pipeline_folder, connections=middle), uneven)
    return cases


NAMES = ['fixed', 'fixed l1 pooled', 'reinforced even', 'reinforced uneven',
         'reinforced absent', 'reinforced single', 'reinforced nowhere',
         'no baseline', 'progress', 'unused', 'joint cls uneven',
         'joint cls absent', 'joint cls nowhere', 'joint seg uneven',
         'joint seg absent', 'joint seg nowhere', 'joint pose uneven',
         'joint pose absent', 'joint pose nowhere', 'joint reinforced',
         'joint segmentation reward', 'joint keypoint reward']


@pytest.fixture(scope='module')
def two(root, cases, tmp_path_factory):
    """What came of every case in each of two processes."""
    folder = tmp_path_factory.mktemp('two')
    torch.save(cases, folder / 'cases.pth')
    processes = [subprocess.Popen(
        [sys.executable, str(root / 'tests/test_models/one_process.py'),
         str(folder), str(rank), '2'], stdout=subprocess.DEVNULL,
        stderr=open(folder / f'{rank}.log', 'w'),
        env={**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'})
        for rank in range(2)]
    try:
        for one in processes:
            one.wait(timeout=1500)  # if they hang
    finally:
        for one in processes:
            one.kill()
    for rank, one in enumerate(processes):
        assert one.returncode == 0, \
            (folder / f'{rank}.log').read_text()[-3000:]
    return [torch.load(folder / f'{rank}.pth', weights_only=False)
            for rank in range(2)]


@pytest.mark.slow
def test_all_cases_are_looked_at(cases):
    assert set(cases) == {*NAMES, 'pooling single', 'pooling nowhere',
                          'accumulated', 'refused'}


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_two_processes_are_as_one(one_process, cases, two, name):
    case = copy.deepcopy(cases[name])
    model = one_process.build(case)
    whole = one_process.step(model, model, case['batch'])
    results = [result[name] for result in two]
    for loss, value in whole['losses'].items():
        if 'loss' not in loss:
            continue  # what is only logged is of the process
        torch.testing.assert_close(
            sum(result['losses'][loss] for result in results) / 2, value,
            rtol=1e-4, atol=1e-6,
            msg=lambda text, name=loss: f'{name}: {text}')
    for result in results:
        gradients = result['gradients']
        # of what one process does not run, several make zeros
        extra = set(gradients) - set(whole['gradients'])
        assert set(whole['gradients']) <= set(gradients)
        assert all(not gradients[one].any() for one in extra)
        where = 'layer4' if name == 'unused' else \
            'head' if 'nowhere' in name else 'nothing'
        assert all(where in one for one in extra)
        for parameter, gradient in whole['gradients'].items():
            torch.testing.assert_close(
                gradients[parameter], gradient, rtol=1e-3,
                atol=1e-4 * float(gradient.abs().max()) + 1e-8,
                msg=lambda text, name=parameter: f'{name}: {text}')


@pytest.mark.slow
@pytest.mark.parametrize('name, labelled', [
    ('pooling single', [True, False]), ('pooling nowhere', [False, False])])
def test_statistics_without_labels(two, name, labelled):
    """They are as before in a process that has no label."""
    for result, has in zip(two, labelled):
        changed = result[name]['changed']
        assert any('backbone' in one for one in changed)
        assert any('decode_head' in one for one in changed) == has
        loss = result[name]['losses']['decode.loss_ce']
        assert loss > 0 if has else loss == 0
        gradients = result[name]['gradients']
        assert all(one.isfinite().all() for one in gradients.values())
        assert any(one.any() for one_name, one in gradients.items()
                   if 'decode_head' in one_name) == any(labelled)


@pytest.mark.slow
def test_accumulated_in_two_processes(one_process, cases, two):
    """Two processes of two half batches each: four parts of a whole."""
    case = copy.deepcopy(cases['accumulated'])
    model = one_process.build(case)
    before = copy.deepcopy(model.state_dict())
    from mmengine.optim import OptimWrapper
    model.train_step(case['batch'], OptimWrapper(
        torch.optim.SGD(model.parameters(), 0.1)))
    for result in two:
        weights = result['accumulated']['weights']
        for key, value in model.state_dict().items():
            torch.testing.assert_close(weights[key], value, rtol=1e-4,
                                       atol=1e-6)
    assert not torch.equal(before['backbone.conv1.weight'],
                           model.backbone.conv1.weight)


@pytest.mark.slow
def test_unused_parameters_are_refused(two):
    for result in two:
        assert 'find_unused_parameters' in result['refused']['error']
