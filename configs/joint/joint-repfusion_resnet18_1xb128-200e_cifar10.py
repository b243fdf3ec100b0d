# Stage 1 and 2 in one run on CIFAR-10: a classifier, distilled as it learns.
_base_ = '../mmpretrain/resnet18_1xb128-200e_cifar10.py'

model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='google/ddpm-cifar10-32',
        input_range=(-1, 127 / 128)),  # x / 128 - 1, as published
    time_sampler=dict(
        type='repfusion_mm.ReinforcedTime', num_bins=100, entropy_weight=0.1),
    reward=dict(type='repfusion_mm.ClassificationReward', num_classes=10),
    connections=[
        dict(
            student_tap='backbone.layer4',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])

default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='entropy_weight', end=0., over=0.5,
                         by_epoch=True)]),
    dict(type='repfusion_mm.PretrainedCheckHook'),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
