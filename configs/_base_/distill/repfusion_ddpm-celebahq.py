# Stage 1 with the released diffusion model of CelebA-HQ, at 256x256. Published
# with ImageNet's mean and std; it sees the range it was trained on here.
model = dict(
    type='repfusion_mm.RepFusion',
    teacher=dict(
        type='repfusion_mm.UNetTeacher',
        pretrained='google/ddpm-ema-celebahq-256'),
    time_sampler=dict(type='repfusion_mm.FixedTime', t=0),
    connections=[
        dict(
            student_tap='out.-1',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss')),
    ])

custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
