# Both stages in one run on COCO: RetinaNet's ResNet-50 distilled at one t.
# Taps and t: see configs/distill/repfusion-ddpm-seg_resnet50_256px_folder.py.
_base_ = '../mmdet/retinanet-r50_8xb4-1x_coco.py'

model = dict(
    _delete_=True,
    type='repfusion_mm.JointRepFusion',
    task={{_base_.model}},
    teacher=dict(
        type='repfusion_mm.GuidedDiffusionTeacher',
        checkpoint='data/guided_diffusion/256x256_diffusion_uncond.pt',
        preset='256x256_uncond',  # it looks at 256x256
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=150),
    connections=[
        dict(
            student_tap='backbone.layer3',
            teacher_tap='up_blocks.1',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])

# images without boxes, to be distilled only: beside the labelled data set
#   train_dataloader = dict(dataset=dict(
#       _delete_=True, type='ConcatDataset', datasets=[
#           dict(type='repfusion_mm.FewLabels', part='unlabelled',
#                labels_per_class=0, dataset=dict(
#                    type='CocoDataset', ...,  # a file of images alone
#                    pipeline={{_base_.train_pipeline}})),
#           {{_base_.train_dataloader.dataset}}]))
default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [
    dict(type='repfusion_mm.TimeSamplerHook'),
    dict(type='repfusion_mm.PretrainedCheckHook'),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
