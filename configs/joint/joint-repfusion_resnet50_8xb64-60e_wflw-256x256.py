# Stage 1 and 2 in one run on WFLW: the ResNet-50 of the heatmaps distilled.
_base_ = '../mmpose/resnet50_8xb64-60e_wflw-256x256.py'

model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='google/ddpm-ema-celebahq-256'),
    time_sampler=dict(
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
            student_tap='backbone.layer4',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', distance='l1',
                      loss_weight=10.)),
    ],
    # beside the small squared errors of heatmaps, stage 1's weight is too much
    distill_weight=0.01)

# the reward needs the landmarks in pixels of the input
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='RandomBBoxTransform', shift_prob=0, rotate_factor=60,
             scale_factor=(0.75, 1.25)),
        dict(type='TopdownAffine', input_size=(256, 256)),
        dict(type='GenerateTarget', encoder={{_base_.codec}}),
        dict(type='PackPoseInputs', pack_transformed=True),
    ]))
default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='entropy_weight', end=0., over=0.5,
                         by_epoch=True)]),
    dict(type='repfusion_mm.PretrainedCheckHook'),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
