# Stage 1: Flux schnell at 512x512, no prompt, one draw of the noise.
# Tap and t: Gan et al., "Unleashing Diffusion Transformers for Visual
# Correspondence by Modulating Massive Activations" (DiTF), NeurIPS 2025, for
# Flux dev: block 28 of 57 from 0, which is the tenth of one stream, behind 19
# of two; the hidden states after adaptive layer norm. It takes dev, too.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='black-forest-labs/FLUX.1-schnell',
        image_size=512,
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=260),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='single_transformer_blocks.9.norm',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
