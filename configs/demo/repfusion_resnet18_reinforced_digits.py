# Stage 1 on the digits: a policy learns from the few labels which t is good.
_base_ = './repfusion_resnet18_uniform_digits.py'

model = dict(
    time_sampler=dict(
        _delete_=True,
        type='repfusion_mm.ReinforcedTime',
        num_bins=20,  # 500 steps are few for 1,000 choices
        look=True,
        entropy_weight=0.3),
    reward=dict(
        type='repfusion_mm.ClassificationReward',
        num_classes=10,
        hidden=()))  # an MLP soon knows so few labels by heart
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='entropy_weight', end=0., over=1.0)])]
