# Stage 1: CompVis' unconditional latent diffusion of faces at 256x256. Nobody
# has published a best tap or t for it: they are DIFT's, at the same share of
# the up-blocks and of the noise.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='CompVis/ldm-celebahq-256',
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=261),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='up_blocks.1',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
