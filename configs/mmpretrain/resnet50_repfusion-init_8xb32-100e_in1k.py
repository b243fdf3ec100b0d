# Stage 2 on ImageNet: the same from a distilled backbone.
_base_ = './resnet50_8xb32-100e_in1k.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet50_8xb32-100e_in1k/'
            'epoch_100.pth',
            prefix='backbone.')))
