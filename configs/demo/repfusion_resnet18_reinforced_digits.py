# Stage 1 on the digits: a policy sees from the few labels which t is good,
# looking at all of them before the first step, and goes on learning.
_base_ = './repfusion_resnet18_uniform_digits.py'

model = dict(
    time_sampler=dict(
        _delete_=True,
        type='repfusion_mm.ReinforcedTime',
        num_bins=20,  # 500 steps are few for 1,000 choices
        look=True,
        entropy_weight=0.),  # it need not search: it settles on one t soon
    reward=dict(
        type='repfusion_mm.ClassificationReward',
        num_classes=10,
        hidden=()))  # an MLP soon knows so few labels by heart
