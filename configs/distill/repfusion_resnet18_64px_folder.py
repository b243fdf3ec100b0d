# Stage 1 on your own images at 64x64.
_base_ = ['../_base_/students/resnet18.py',
          '../_base_/datasets/folder_64px_distill.py',
          '../_base_/schedules/adamw_5k.py',
          '../_base_/iter_runtime.py']

model = dict(
    type='repfusion_mm.RepFusion',
    data_preprocessor={{_base_.data_preprocessor}},
    backbone={{_base_.backbone}},
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='work_dirs/unet_64px_folder/dpm'),
    time_sampler=dict(
        type='repfusion_mm.ReinforcedTime', num_bins=100, entropy_weight=0.05),
    reward=dict(
        type='repfusion_mm.ClassificationReward',
        num_classes=10),  # the number of folders
    connections=[
        dict(
            student_tap='layer4',
            teacher_tap='mid_block.resnets.1',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])

default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
