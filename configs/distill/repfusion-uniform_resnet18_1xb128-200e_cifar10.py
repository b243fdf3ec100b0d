# Stage 1 on CIFAR-10 with t drawn uniformly.
_base_ = './repfusion_resnet18_1xb128-200e_cifar10.py'

model = dict(
    time_sampler=dict(
        _delete_=True, type='repfusion_mm.UniformTime', max_t=1000),
    reward=None)
custom_hooks = [
    dict(type='EMAHook', momentum=0.001),
    dict(type='repfusion_mm.TimeSamplerHook'),
]
