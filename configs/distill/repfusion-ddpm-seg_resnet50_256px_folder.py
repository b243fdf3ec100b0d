# Stage 1: guided diffusion of ImageNet at 256x256 without classes, noised.
# Taps and t: Baranchuk et al., "Label-Efficient Semantic Segmentation with
# Diffusion Models" (DDPM-seg), ICLR 2022: decoder blocks 5, 8 and 12 of 18, at
# t = 50, 150 and 250, of which this is the middle one.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.GuidedDiffusionTeacher',
        checkpoint='data/guided_diffusion/256x256_diffusion_uncond.pt',
        preset='256x256_uncond',
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=150),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='up_blocks.1',
            loss=dict(type='repfusion_mm.HintLoss')),
        dict(
            student_tap='layer2',
            teacher_tap='up_blocks.2',
            loss=dict(type='repfusion_mm.HintLoss')),
        dict(
            student_tap='layer1',
            teacher_tap='up_blocks.4.resnets.0',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
