# Stage 1: Sana at 512x512, no prompt, one draw of the noise.
# Nobody has published a best tap: the block is half of them, t is DiTF's for
# Flux. Its maps have a 32nd of the image's side, as layer4's.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='Efficient-Large-Model/Sana_1600M_512px_diffusers',
        image_size=512,
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=260),
    connections=[
        dict(
            student_tap='layer4',
            teacher_tap='transformer_blocks.9',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
