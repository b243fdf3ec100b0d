# Stage 2 on CIFAR-100: the same from a distilled backbone.
_base_ = './resnet18_1xb128-200e_cifar100.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet18_1xb128-200e_cifar100/'
            'epoch_200.pth',
            prefix='backbone.')))
