# Stage 1: PixArt-sigma at 512x512, no prompt, one draw of the noise.
# Nobody has published a best tap: block and t are DDAE's for DiT-XL/2, which
# has as many blocks of the same width.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='PixArt-alpha/PixArt-Sigma-XL-2-512-MS',
        image_size=512,
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=121),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='transformer_blocks.13',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
