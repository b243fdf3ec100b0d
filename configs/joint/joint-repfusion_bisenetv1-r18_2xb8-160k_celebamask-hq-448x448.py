# Stage 1 and 2 in one run on CelebAMask-HQ: BiSeNetV1's ResNet-18 distilled.
_base_ = '../mmseg/bisenetv1-r18_2xb8-160k_celebamask-hq-448x448.py'

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
    reward=dict(type='repfusion_mm.SegmentationReward', num_classes=18),
    connections=[
        dict(
            student_tap='backbone.context_path.backbone.layer4',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])

default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='entropy_weight', end=0., over=0.5)]),
    dict(type='repfusion_mm.PretrainedCheckHook'),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
