# Stage 1 on the digits: t is drawn uniformly.
_base_ = ['../_base_/datasets/digits_distill.py',
          '../_base_/iter_runtime.py']

model = dict(
    type='repfusion_mm.RepFusion',
    data_preprocessor={{_base_.data_preprocessor}},
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        stem_channels=16,
        base_channels=16),
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='configs/demo/dpm_digits'),
    time_sampler=dict(type='repfusion_mm.UniformTime', max_t=1000),
    connections=[
        dict(
            student_tap='layer4',
            teacher_tap='mid_block.resnets.1',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])

train_cfg = dict(by_epoch=False, max_iters=500)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=50, by_epoch=False),
]
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
