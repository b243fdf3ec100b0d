"""A backbone is built under its own library's scope, and gives maps."""
import pytest
import torch

SWIN = dict(depths=[1] * 4, num_heads=[1, 2, 4, 8])
VIT = dict(num_layers=2, num_heads=2)


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
    dict(type='mmpretrain.MobileNetV2', widen_factor=0.25),
    dict(type='mmseg.MobileNetV2', widen_factor=0.25),
    dict(type='mmpose.MobileNetV2', widen_factor=0.25),
    dict(type='mmpretrain.ConvNeXt', arch='atto',
         gap_before_final_norm=False),
    dict(type='mmpretrain.SwinTransformer', pad_small_map=True,
         arch=dict(SWIN, embed_dims=24)),
    dict(type='mmseg.SwinTransformer', embed_dims=24, **SWIN),
    dict(type='mmpose.SwinTransformer', embed_dims=24, **SWIN),
    dict(type='mmpretrain.VisionTransformer', img_size=64, patch_size=16,
         out_type='featmap', arch=dict(
             VIT, embed_dims=16, feedforward_channels=32)),
    dict(type='mmseg.VisionTransformer', img_size=64, patch_size=16,
         embed_dims=16, **VIT),
    dict(type='mmseg.MixVisionTransformer', embed_dims=8,
         num_layers=[1] * 4, num_heads=[1] * 4),
], ids=lambda backbone: backbone['type'])
def test_distils_into(repfusion, build, samples, backbone):
    cfg = repfusion(backbone=backbone)
    cfg['connections'][0] = dict(
        cfg['connections'][0], student_tap='out.0',
        loss=dict(type='repfusion_mm.HintLoss'))
    module = build(cfg)
    library = backbone['type'].split('.')[0]
    assert type(module.backbone).__module__.startswith(library)
    assert len(module.taps.shapes['out.0']) == 3  # also of tokens
    module.init_weights()
    module.train()
    losses = module.loss(torch.rand(2, 3, 64, 64), samples([0, -1]))
    losses['loss_feature'].backward()
    first = next(module.backbone.parameters())
    assert first.grad.abs().sum() > 0
