# Stage 1 on CelebA-HQ with a policy: a t is worth what a classifier of pixels
# reads of the masks of CelebAMask-HQ from z(t).
_base_ = ['../_base_/students/resnet18.py',
          '../_base_/distill/repfusion_ddpm-celebahq.py',
          '../_base_/datasets/celebamask_hq_distill.py',
          '../_base_/schedules/sgd_200e.py',
          '../_base_/mmseg_runtime.py']

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
    reward=dict(type='repfusion_mm.SegmentationReward', num_classes=18))

default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='entropy_weight', end=0., over=0.5,
                         by_epoch=True)]),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
