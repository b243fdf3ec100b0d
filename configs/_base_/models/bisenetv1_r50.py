# BiSeNetV1 with a ResNet-50, for the 18 parts of CelebAMask-HQ.
_base_ = './bisenetv1_r18.py'

_auxiliary = dict(in_channels=512, channels=256)
model = dict(
    backbone=dict(
        context_channels=(512, 1024, 2048),
        spatial_channels=(256, 256, 256, 512),
        out_channels=1024,
        backbone_cfg=dict(depth=50)),
    decode_head=dict(in_channels=1024, channels=1024),
    auxiliary_head=[
        dict(head, **_auxiliary) for head in _base_.model.auxiliary_head
    ])
