# BiSeNetV1 with a ResNet-50, for the 18 parts of CelebAMask-HQ.
_base_ = '../segmentor.py'

_auxiliary = dict(
    type='FCNHead',
    in_channels=512,
    channels=256,
    num_convs=1,
    concat_input=False,
    num_classes=18,
    norm_cfg=dict(type='BN'),
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0))
model = dict(
    backbone=dict(
        type='BiSeNetV1',
        context_channels=(512, 1024, 2048),
        spatial_channels=(256, 256, 256, 512),
        out_channels=1024,
        out_indices=(0, 1, 2),
        backbone_cfg=dict(type='ResNet', depth=50),
        norm_cfg=dict(type='BN'),
        align_corners=False),
    decode_head=dict(
        type='FCNHead',
        in_channels=1024,
        in_index=0,
        channels=1024,
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
