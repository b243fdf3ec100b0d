# Stage 1 on CIFAR-10 as published: google/ddpm-cifar10-32 into a ResNet-18.
_base_ = ['../_base_/datasets/cifar10_bs128.py',
          '../_base_/schedules/sgd_200e.py',
          '../_base_/default_runtime.py']

model = dict(
    type='repfusion_mm.RepFusion',
    data_preprocessor={{_base_.data_preprocessor}},
    backbone=dict(
        type='ResNet_CIFAR', depth=18, num_stages=4, style='pytorch'),
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='google/ddpm-cifar10-32',
        input_range=(-1, 127 / 128)),  # x / 128 - 1, as published
    time_sampler=dict(
        type='repfusion_mm.ReinforcedTime',
        num_timesteps=1000,
        entropy_weight=0.1),
    reward=dict(type='repfusion_mm.ClassificationReward', num_classes=10),
    connections=[
        dict(
            student_tap='layer4',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])

# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None

custom_hooks = [
    dict(type='EMAHook', momentum=0.001),
    dict(type='repfusion_mm.TimeSamplerHook', entropy_decay=0.5),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
