# Stage 1 on CIFAR-10 with t drawn from a range that shrinks from 1000 to 50.
_base_ = './repfusion-uniform_resnet18_1xb128-200e_cifar10.py'

custom_hooks = [
    dict(type='EMAHook', momentum=0.001),
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='max_t', end=50, by_epoch=True)]),
]
