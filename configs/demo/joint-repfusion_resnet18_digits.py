# Stage 1 and 2 in one run on the digits: the classifier is distilled as it
# learns, in as many steps as both take, and sees as many labelled images a
# step as from scratch. At the end the distillation has let go of it.
_base_ = ['../_base_/models/resnet18_digits.py',
          '../_base_/datasets/digits.py',
          '../_base_/schedules/digits_200.py',
          '../_base_/iter_runtime.py']

model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='configs/demo/dpm_digits'),
    time_sampler=dict(
        type='repfusion_mm.ReinforcedTime',
        num_bins=20,
        look=True,
        entropy_weight=0.),
    reward=dict(
        type='repfusion_mm.ClassificationReward',
        num_classes=10,
        hidden=()),
    connections=[
        dict(
            student_tap='backbone.layer4',
            teacher_tap='mid_block.resnets.1',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])

_few = dict(
    type='repfusion_mm.FewLabels',
    labels_per_class=2,
    seed=0,
    dataset=dict(
        type='repfusion_mm.Digits',
        split='train',
        pipeline={{_base_.train_pipeline}}))
train_dataloader = dict(
    batch_size=80,
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(part='unlabelled', **_few),
            dict(
                type='RepeatDataset',
                times=54,  # 20 x 54 labelled beside 1,077 unlabelled
                dataset=dict(part='labelled', **_few)),
        ]))

train_cfg = dict(max_iters=700, val_interval=700)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=70, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=70, by_epoch=False),
]
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook',
         schedules=[dict(attribute='distill_weight', end=0.)]),
    dict(type='repfusion_mm.PretrainedCheckHook'),
]
