# Stage 1 as published, whatever the data set, the teacher and the student, but
# for the policy's baseline: published without, `time_sampler.baseline='none'`.
_base_ = '../default_runtime.py'

model = dict(
    type='repfusion_mm.RepFusion',
    time_sampler=dict(
        type='repfusion_mm.ReinforcedTime',
        num_timesteps=1000,
        entropy_weight=0.1),
    reward=dict(type='repfusion_mm.ClassificationReward'),
    connections=[
        dict(
            student_tap='out.-1',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])

default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [
    dict(type='EMAHook', momentum=0.001),
    # over the first half: 100 of 200 epochs, as published
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='entropy_weight', end=0., over=0.5,
                         by_epoch=True)]),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
