"""A backbone is built under its own library's scope."""
import pytest
import torch


@pytest.mark.parametrize('backbone', [
    dict(type='mmpretrain.ResNet', depth=18),
    dict(type='mmseg.ResNetV1c', depth=18),
    dict(type='mmpose.ResNet', depth=18),
    dict(type='mmpose.HRNet', in_channels=3, extra=dict(
        stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK',
                    num_blocks=(1, ), num_channels=(8, )),
        stage2=dict(num_modules=1, num_branches=2, block='BASIC',
                    num_blocks=(1, 1), num_channels=(4, 8)),
        stage3=dict(num_modules=1, num_branches=3, block='BASIC',
                    num_blocks=(1, 1, 1), num_channels=(4, 8, 16)),
        stage4=dict(num_modules=1, num_branches=4, block='BASIC',
                    num_blocks=(1, 1, 1, 1), num_channels=(4, 8, 16, 32)))),
], ids=lambda backbone: backbone['type'])
def test_distils_into(repfusion, build, samples, backbone):
    cfg = repfusion(backbone=backbone)
    cfg['connections'][0]['student_tap'] = 'out.0'
    module = build(cfg)
    library = backbone['type'].split('.')[0]
    assert type(module.backbone).__module__.startswith(library)
    module.init_weights()
    module.train()
    losses = module.loss(torch.rand(2, 3, 64, 64), samples([0, -1]))
    losses['loss_feature'].backward()
    first = next(module.backbone.parameters())
    assert first.grad.abs().sum() > 0
