# Stage 2 on CIFAR-10: the same from a distilled backbone.
_base_ = './resnet50_1xb128-200e_cifar10.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet50_1xb128-200e_cifar10/'
            'epoch_200.pth',
            prefix='backbone.')))
