# Stage 2 on Tiny-ImageNet: the same from a distilled backbone.
_base_ = './resnet18_1xb64-200e_tiny-imagenet.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet18_1xb64-200e_tiny-imagenet/'
            'epoch_200.pth',
            prefix='backbone.')))
