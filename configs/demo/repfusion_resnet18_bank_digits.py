# Stage 1 on the digits from a feature bank: the diffusion model sees each
# whole image once, at t = 100, whichever crops the student sees.
_base_ = './repfusion_resnet18_fixed_digits.py'

model = dict(
    time_sampler=dict(t=100),
    teacher=dict(
        _delete_=True,
        type='repfusion_mm.BankedTeacher',
        teacher={{_base_.model.teacher}},
        bank='work_dirs/repfusion_resnet18_bank_digits/bank',
        dataset=dict(
            type='repfusion_mm.Digits',
            split='train',
            pipeline=[dict(type='PackInputs')]),
        channel_order='rgb',
        timesteps=[100],
        flips=False))  # digits are not mirrored
