# Stage 2 on your own images at 64x64: the same from a distilled backbone.
_base_ = './resnet18_64px_folder.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet18_64px_folder/'
            'iter_5000.pth',
            prefix='backbone.')))
