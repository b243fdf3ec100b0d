import pytest
import torch
import torch.nn.functional as F

TAP = 'mid_block.resnets.1'
DOWN = 'down_blocks.0.resnets.0'


@pytest.fixture
def regressor(build):
    return build(dict(type='repfusion_mm.TopDownRegressor', in_channels=[3, 5],
                      out_channels=7))


def test_value(regressor):
    """Lateral layers, the deeper map added, a convolution at the end."""
    shallow, deep = torch.randn(2, 3, 8, 6), torch.randn(2, 5, 4, 3)
    got = regressor([shallow, deep])
    state = regressor.pyramid.state_dict()

    def lateral(index, feature):
        return F.conv2d(feature, state[f'inner_blocks.{index}.0.weight'],
                        state[f'inner_blocks.{index}.0.bias'])

    def smooth(index, feature):
        return F.conv2d(feature, state[f'layer_blocks.{index}.0.weight'],
                        state[f'layer_blocks.{index}.0.bias'], padding=1)

    top = lateral(1, deep)
    below = lateral(0, shallow) + top.repeat_interleave(2, 2) \
        .repeat_interleave(2, 3)
    torch.testing.assert_close(got[0], smooth(0, below))
    torch.testing.assert_close(got[1], smooth(1, top))


def test_in_a_model(repfusion, build, samples):
    """Two stages of the student onto two levels of the teacher."""
    cfg = repfusion(
        backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18,
                      stem_channels=4, base_channels=4,
                      out_indices=(2, 3)),
        regressor=dict(type='repfusion_mm.TopDownRegressor', out_channels=6),
        connections=[
            dict(student_tap='regressor.0', teacher_tap=DOWN),
            dict(student_tap='regressor.1', teacher_tap=TAP,
                 resize='teacher'),
            dict(student_tap='layer1', teacher_tap=TAP)])
    module = build(cfg)
    assert [c.projector.in_channels for c in module.connections] == [6, 6, 4]
    module.init_weights()
    module.train()
    losses = module(torch.rand(2, 3, 16, 16), samples([1, -1]), mode='loss')
    sum(losses[f'loss_feature{i}'] for i in ('', 1)).backward()
    assert module.regressor.pyramid.inner_blocks[0][0].weight.grad.any()
    # the shallow connection sees the deep stage, from the top down
    assert module.backbone.layer4[0].downsample[0].weight.grad.any()
    keys = {key.split('.')[0] for key in module.state_dict()}
    assert 'regressor' in keys and 'teacher' not in keys


def test_any_neck(repfusion, build, samples):
    """Mmpretrain's fusion of the scales of an HRNet."""
    channels = (4, 8, 16, 32)
    stages = {
        f'stage{i}': dict(
            num_modules=1, num_branches=i,
            block='BOTTLENECK' if i == 1 else 'BASIC', num_blocks=(1, ) * i,
            num_channels=(8, ) if i == 1 else channels[:i])
        for i in range(1, 5)}
    module = build(repfusion(
        backbone=dict(type='mmpretrain.HRNet', extra=stages),
        regressor=dict(type='mmpretrain.HRFuseScales', out_channels=64),
        connections=[dict(student_tap='regressor.0', teacher_tap=TAP,
                          loss=dict(type='repfusion_mm.HintLoss'))]))
    assert module.connections[0].projector.in_channels == 64
    module.init_weights()
    losses = module(torch.rand(2, 3, 64, 64), samples([1, -1]), mode='loss')
    losses['loss_feature'].backward()
    assert next(module.backbone.parameters()).grad.any()


@pytest.mark.parametrize('regressor, message', [
    (None, 'regressor.2.*there is no `regressor`'),
    (dict(type='repfusion_mm.TopDownRegressor'),
     'regressor.2.*gives .regressor.0'),
])
def test_unknown_tap(repfusion, build, regressor, message):
    with pytest.raises(ValueError, match=message):
        build(repfusion(regressor=regressor, connections=[
            dict(student_tap='regressor.2', teacher_tap=TAP)]))
