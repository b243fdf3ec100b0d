# Stage 1 with the released diffusion model of ImageNet at 64x64. Its weights:
# 64x64_diffusion.pt of github.com/openai/guided-diffusion.
_base_ = './repfusion.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.GuidedDiffusionTeacher',
        checkpoint='data/guided_diffusion/64x64_diffusion.pt',
        preset='64x64',
        class_condition=dict(average='all'),  # told no label
        input_range=(-1, 127 / 128)),  # x / 128 - 1, as published
    time_sampler=dict(
        policy=dict(
            type='repfusion_mm.LeNetPolicy',
            image_size=64,
            channels=(6, 16, 16))),
    reward=dict(hidden=(1024, 512, 512)))
