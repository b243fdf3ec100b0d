"""The checkpoint of a plain model, given to a joint one."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import load_checkpoint
from torch import nn

from repfusion_mm.models.distillers.loaded_weights import take_as_task


@pytest.fixture
def classifier():
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                      base_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=32))


@pytest.fixture
def joint(build, classifier, pipeline_folder):
    return build(ConfigDict(
        type='repfusion_mm.JointRepFusion', task=classifier,
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(
            student_tap='backbone.layer4', teacher_tap='mid_block.resnets.1',
            loss=dict(type='repfusion_mm.HintLoss'))]))


def arrived(module, weights):
    return all(torch.equal(value, weights[key])
               for key, value in module.state_dict().items())


@pytest.mark.parametrize('ddp', [False, True])
def test_plain_model(build, classifier, joint, tmp_path, ddp):
    weights = build(classifier).state_dict()
    path = str(tmp_path / 'plain.pth')
    torch.save(dict(state_dict={('module.' if ddp else '') + key: value
                                for key, value in weights.items()}), path)
    assert not arrived(joint.task, weights)
    load_checkpoint(joint, path)
    assert arrived(joint.task, weights)


def test_its_own(joint):
    weights = {key: torch.rand_like(value) if value.is_floating_point()
               else value for key, value in joint.state_dict().items()}
    joint.load_state_dict(weights, strict=True)
    assert arrived(joint, weights)
    # and only its own parts, as one may want to
    own = {key: value + 1 for key, value in weights.items()
           if key.startswith('connections.')}
    joint.load_state_dict(own, strict=False)
    assert arrived(joint, {**weights, **own})


def test_stage_1(build, joint, repfusion, tmp_path):
    student = build(repfusion(reward=None, time_sampler=dict(
        type='repfusion_mm.UniformTime')))
    weights = student.state_dict()
    joint.load_state_dict(weights, strict=False)
    assert arrived(joint.task.backbone, student.backbone.state_dict())
    assert arrived(joint.connections, student.connections.state_dict())


def test_nothing_that_fits(build, joint, repfusion):
    student = build(repfusion())
    for model, keys, name in (
            (joint, ['conv1.weight'], 'task'),
            (joint, ['model.a', 'connections.b'], 'task'),
            (student, ['conv1.weight', 'fc.bias'], 'backbone'),
            (student, list(joint.state_dict()), 'backbone')):
        with pytest.raises(ValueError, match='nothing of the checkpoint fits '
                           f'the `{name}`.*begin with `{name}.`.*init_cfg'):
            model.load_state_dict(
                {key: torch.zeros(1) for key in keys}, strict=False)
        model.load_state_dict({}, strict=False)  # which is not ours to judge


def test_versions_go_along():
    """By which a part of the task tells old checkpoints from new ones."""
    seen = {}

    class Head(nn.Linear):
        _version = 3

        def _load_from_state_dict(self, state_dict, prefix, metadata, *args):
            seen[prefix] = metadata.get('version')
            super()._load_from_state_dict(state_dict, prefix, metadata, *args)

    class Joint(nn.Module):

        def __init__(self):
            super().__init__()
            self.task = nn.ModuleDict(dict(head=Head(2, 2)))

        def _load_from_state_dict(self, state_dict, prefix, *args):
            if not prefix:
                take_as_task(state_dict, self.task)
            super()._load_from_state_dict(state_dict, prefix, *args)

    plain = nn.ModuleDict(dict(head=Head(2, 2)))
    joint = Joint()
    joint.load_state_dict(plain.state_dict())
    assert seen == {'task.head.': 3}
    assert arrived(joint.task, plain.state_dict())


def test_with_the_hook(build, classifier, joint, tmp_path, monkeypatch):
    """It says what of a joint model a plain checkpoint does not hold."""
    from mmengine.runner import IterBasedTrainLoop

    from repfusion_mm.engine.hooks import (
        PretrainedCheckHook,
        pretrained_check_hook,
    )
    said = []
    monkeypatch.setattr(pretrained_check_hook, 'print_log',
                        lambda text, *args: said.append(text))
    path = str(tmp_path / 'plain.pth')
    torch.save(build(classifier).state_dict(), path)
    runner = SimpleNamespace(
        model=joint, _load_from=path, _resume=False,
        _train_loop=object.__new__(IterBasedTrainLoop))
    hook = PretrainedCheckHook()
    hook.before_run(runner)
    joint.init_weights()
    hook.after_load_checkpoint(runner, None)
    load_checkpoint(joint, path)
    hook.before_train(runner)
    assert len(said) == 1 and said[0].startswith('load_from: of ')
    assert '; NOT 2 of `connections`' in said[0]
    assert 'NOT' not in said[0].replace('; NOT 2 of `connections`', '')
