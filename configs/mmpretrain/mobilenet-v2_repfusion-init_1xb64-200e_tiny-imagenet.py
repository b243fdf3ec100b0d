# Stage 2 on Tiny-ImageNet: the same from a distilled backbone.
_base_ = './mobilenet-v2_1xb64-200e_tiny-imagenet.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_mobilenet-v2_1xb64-200e_tiny-imagenet/'
            'epoch_200.pth',
            prefix='backbone.')))
