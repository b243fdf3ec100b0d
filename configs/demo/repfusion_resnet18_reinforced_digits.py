# Stage 1 on the digits: a policy learns from the few labels which t is good.
_base_ = './repfusion_resnet18_uniform_digits.py'

model = dict(
    time_sampler=dict(
        _delete_=True,
        type='repfusion_mm.ReinforcedTime',
        num_bins=100,
        entropy_weight=0.3),
    reward=dict(
        type='repfusion_mm.ClassificationReward',
        num_classes=10,
        folds=2))  # so few labels are soon known by heart

# A policy that settles slowly: it would otherwise choose before the
# classifiers behind the reward know anything.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(time_sampler=dict(lr_mult=0.3))))
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook', entropy_decay=1.0)]
