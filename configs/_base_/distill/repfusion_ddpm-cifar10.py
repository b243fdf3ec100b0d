# Stage 1 with the released diffusion model of CIFAR-10, at 32x32.
_base_ = './repfusion.py'

model = dict(
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='google/ddpm-cifar10-32',
        input_range=(-1, 127 / 128)))  # x / 128 - 1, as published
