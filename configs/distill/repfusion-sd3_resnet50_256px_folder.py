# Stage 1: Stable Diffusion 3 medium at 512x512, no prompt, one draw of the
# noise. The hidden states after adaptive layer norm and t are those of DiTF
# (Gan et al., NeurIPS 2025) for Flux; the block is nobody's: as deep a part.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='stabilityai/stable-diffusion-3-medium-diffusers',
        image_size=512,
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=260),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='transformer_blocks.9.norm1',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
