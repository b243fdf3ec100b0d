# Stage 1: Stable Diffusion XL at 512x512, no prompt, one draw of the noise.
# Nobody has published a best tap: it is the level of DIFT's, of 16 pixels a
# side, which is the first up-block here; t is DIFT's.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='stabilityai/stable-diffusion-xl-base-1.0',
        variant='fp16',
        image_size=512,
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=261),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='up_blocks.0',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
