# BiSeNetV1 with a ResNet-18, for the 18 parts of CelebAMask-HQ.
_base_ = '../segmentor.py'

_auxiliary = dict(
    type='FCNHead',
    in_channels=128,
    channels=64,
    num_convs=1,
    concat_input=False,
    num_classes=18,
    norm_cfg=dict(type='BN'),
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0))
model = dict(
    backbone=dict(
        type='BiSeNetV1',
        context_channels=(128, 256, 512),
        spatial_channels=(64, 64, 64, 128),
        out_channels=256,
        out_indices=(0, 1, 2),
        backbone_cfg=dict(type='ResNet', depth=18),
        norm_cfg=dict(type='BN'),
        align_corners=False),
    decode_head=dict(
        type='FCNHead',
        in_channels=256,
        in_index=0,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=18,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)),
    auxiliary_head=[
        dict(_auxiliary, in_index=1),
        dict(_auxiliary, in_index=2),
    ])
