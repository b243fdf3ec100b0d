# Stage 2 on WFLW: the same from a distilled backbone.
_base_ = './resnet50_8xb64-60e_wflw-256x256.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet50_celebahq/epoch_200.pth',
            prefix='backbone.')))
