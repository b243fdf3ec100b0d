# Stage 1 on WFLW with a policy and the teacher of CelebA-HQ: a t is worth what
# of the landmarks is found in z(t).
_base_ = ['../_base_/students/resnet50.py',
          '../_base_/distill/repfusion_ddpm-celebahq.py',
          '../_base_/datasets/wflw_distill.py',
          '../_base_/schedules/sgd_200e.py',
          '../_base_/mmpose_runtime.py']

model = dict(
    data_preprocessor={{_base_.data_preprocessor}},
    backbone={{_base_.backbone}},
    time_sampler=dict(
        _delete_=True,
        type='repfusion_mm.ReinforcedTime',
        num_bins=100,
        policy=dict(
            type='repfusion_mm.LeNetPolicy',
            image_size=64,
            channels=(6, 16, 16)),
        entropy_weight=0.1),
    reward=dict(type='repfusion_mm.KeypointReward', num_keypoints=98),
    connections=[
        dict(
            student_tap='out.-1',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', distance='l1',
                      loss_weight=10.)),
    ])

default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='entropy_weight', end=0., over=0.5,
                         by_epoch=True)]),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
