# Stage 1 on the digits: t is always 0.
_base_ = './repfusion_resnet18_uniform_digits.py'

model = dict(
    time_sampler=dict(_delete_=True, type='repfusion_mm.FixedTime', t=0))
