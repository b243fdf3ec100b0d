# Stage 1: Stable Diffusion 1.5 at 512x512, no prompt, one draw of the noise.
# t: Li et al., "SD4Match", CVPR 2024; tap: up_blocks.1, as in DIFT.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='stable-diffusion-v1-5/stable-diffusion-v1-5',
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=50),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='up_blocks.1',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
