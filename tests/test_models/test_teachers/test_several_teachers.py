"""Several teachers in one distillation."""
import copy

import pytest
import torch

TAPS = ['drawn.mid_block', 'early.down_blocks.0.resnets.0', 'net.out.0']


@pytest.fixture
def cfg(pipeline_folder):
    unet = dict(type='repfusion_mm.UNetTeacher', pretrained=pipeline_folder)
    return dict(
        type='repfusion_mm.SeveralTeachers',
        teachers=dict(
            early=dict(unet, image_size=8), drawn=unet,
            net=dict(type='repfusion_mm.ClassifierTeacher', image_size=16,
                     model=dict(
                         type='mmpretrain.ImageClassifier',
                         backbone=dict(type='ResNet_CIFAR', depth=18,
                                       stem_channels=4, base_channels=4),
                         neck=dict(type='GlobalAveragePooling'),
                         head=dict(type='LinearClsHead', num_classes=3,
                                   in_channels=32)))),
        timesteps=dict(early=(10, 20), net=0))


def test_each_is_itself(build, cfg, images, timesteps):
    module = build(dict(cfg, taps=TAPS))
    module.init_weights()
    assert not module.state_dict() and module.num_timesteps == 1000
    torch.manual_seed(4)
    found = module(images, timesteps)
    assert set(found) == set(TAPS)
    assert next(iter(found)) == TAPS[0]  # what a reward reads
    for tap, feature in found.items():
        assert feature.shape[1:] == module.feature_shapes[tap]
        name, _, path = tap.partition('.')
        alone = module.teachers[name]
        if name == 'early':  # some t of its range
            assert any(torch.equal(feature[:1], alone(
                images, torch.full((4, ), t))[path][:1])
                for t in range(10, 20))
            assert feature.shape[2:] == (8, 8)
        else:
            assert torch.equal(feature, alone(images, timesteps)[path])


def test_distilled(build, cfg, repfusion, images, samples):
    """A policy about one, and a loss of each."""
    hint = dict(type='repfusion_mm.HintLoss', pool=True)
    model = build(repfusion(
        teacher=cfg, connections=[
            dict(student_tap='layer4', teacher_tap=tap, loss=hint)
            for tap in TAPS]))
    model.init_weights()
    labels = samples([0, 1, 2, 3])
    losses = model(images / 127.5 - 1, labels, mode='loss')
    assert {'loss_feature', 'loss_feature1', 'loss_feature2', 'loss_policy'
            } <= set(losses)
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert all(connection.projector.weight.grad.abs().sum() > 0
               for connection in model.connections)


@pytest.mark.parametrize('change, match', [
    (dict(timesteps=dict(early=3)), 'exactly one is left'),
    (dict(timesteps=dict(early=3, net=0, drawn=3)), 'exactly one is left'),
    (dict(timesteps=dict(early=3, other=0)), 'exactly one is left'),
    (dict(timesteps=dict(early=1000, net=0)), 'timesteps.early` is 1000'),
    (dict(timesteps=dict(early=(5, 5), net=0)), r'from \[low, high\)'),
    (dict(taps=['mid_block']), 'the name of one'),
    (dict(taps=['drawn.midblock']), 'nearest: .*mid_block')])
def test_wrong_arguments(build, cfg, change, match):
    with pytest.raises(ValueError, match=match):
        build(dict(copy.deepcopy(cfg), **change))
