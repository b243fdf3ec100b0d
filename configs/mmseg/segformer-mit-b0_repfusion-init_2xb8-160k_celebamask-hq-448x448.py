# Stage 2 on CelebAMask-HQ: the same from a distilled backbone.
_base_ = './segformer-mit-b0_2xb8-160k_celebamask-hq-448x448.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_mit-b0_celebahq/epoch_200.pth',
            prefix='backbone.')))
