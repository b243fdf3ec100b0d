# Stage 1: DiT-XL/2 at 256x256, told the class that says nothing, one draw of
# the noise. Tap and t: Xiang et al., "Denoising Diffusion Autoencoders are
# Unified Self-supervised Learners", ICCV 2023, for CIFAR-10; 81 for
# Tiny-ImageNet.
_base_ = '../_base_/distill/diffusion_256px_folder.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.DiffusionTeacher',
        pretrained='facebook/DiT-XL-2-256',
        image_size=256,
        add_noise=True,
        dtype='bfloat16'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=121),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='transformer_blocks.13',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])
