# Stage 1 on the digits: a policy learns from the few labels which t is good.
_base_ = './repfusion_resnet18_uniform_digits.py'

model = dict(
    time_sampler=dict(
        _delete_=True,
        type='repfusion_mm.ReinforcedTime',
        num_bins=100,
        entropy_weight=0.05),
    reward=dict(type='repfusion_mm.ClassificationReward', num_classes=10))
