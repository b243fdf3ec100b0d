# Stage 1 on Tiny-ImageNet with t drawn uniformly from [0, 50), as published.
_base_ = './repfusion_resnet18_1xb64-200e_tiny-imagenet.py'

model = dict(
    time_sampler=dict(
        _delete_=True, type='repfusion_mm.UniformTime', max_t=50),
    reward=None)
custom_hooks = [
    dict(type='EMAHook', momentum=0.001),
    dict(type='repfusion_mm.TimeSamplerHook'),
]
