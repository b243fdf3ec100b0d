# Stage 2 on CelebAMask-HQ: the same from a distilled backbone.
_base_ = './bisenetv1-r18_2xb8-160k_celebamask-hq-448x448.py'

model = dict(
    backbone=dict(
        backbone_cfg=dict(
            init_cfg=dict(
                type='Pretrained',
                checkpoint='work_dirs/repfusion_resnet18_celebahq/'
                'epoch_200.pth',
                prefix='backbone.'))))
