# Four levels of the denoiser's decoder into the four stages of a ResNet-50,
# after DreamTeacher: noisy images, a pyramid on the student, all resolutions.
# At which t the denoiser knows most: tools/analysis_tools/probe_time.py.
_base_ = './repfusion_resnet50_celebahq.py'

model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    teacher=dict(add_noise=True),
    time_sampler=dict(t=100),
    regressor=dict(type='repfusion_mm.TopDownRegressor', out_channels=256),
    connections=[
        dict(
            student_tap='regressor.0',  # 64x64
            teacher_tap='up_blocks.3.resnets.2',
            loss=dict(type='repfusion_mm.HintLoss', normalize=True)),
        dict(
            student_tap='regressor.1',  # 32x32
            teacher_tap='up_blocks.2.resnets.2',
            loss=dict(type='repfusion_mm.HintLoss', normalize=True)),
        dict(
            student_tap='regressor.2',  # 16x16
            teacher_tap='up_blocks.1.resnets.2',
            loss=dict(type='repfusion_mm.HintLoss', normalize=True)),
        dict(
            student_tap='regressor.3',  # 8x8
            teacher_tap='up_blocks.0.resnets.2',
            loss=dict(type='repfusion_mm.HintLoss', normalize=True)),
    ])
