# Ordinary distillation on CIFAR-10, the baseline: a trained ResNet-50's hints.
_base_ = './repfusion-uniform_resnet18_1xb128-200e_cifar10.py'

model = dict(
    teacher=dict(
        _delete_=True,
        type='repfusion_mm.ClassifierTeacher',
        model='configs/mmpretrain/resnet50_1xb128-200e_cifar10.py',
        checkpoint='work_dirs/resnet50_1xb128-200e_cifar10/epoch_200.pth',
        image_size=32),
    time_sampler=dict(_delete_=True, type='repfusion_mm.FixedTime', t=0),
    connections=[
        dict(
            student_tap='out.-1',
            teacher_tap='backbone.layer4',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])
