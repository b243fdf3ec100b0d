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
    # looks at the labelled images at 20 t before the first step, and starts
    # nearly settled on what it finds
    time_sampler=dict(
        type='repfusion_mm.ReinforcedTime',
        num_bins=20,
        look=dict(temperature=0.1),
        entropy_weight=0.),
    reward=dict(type='repfusion_mm.HeldOutReward'),
    connections=[
        dict(
            student_tap='layer4',
            teacher_tap='mid_block.resnets.1',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])

# its rewards tell little that the look has not told
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(time_sampler=dict(lr_mult=0.1))))
default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
