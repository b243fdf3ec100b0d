# Ordinary distillation on CIFAR-10: a trained ResNet-50's relations.
_base_ = './hint_resnet18_resnet50-teacher_1xb128-200e_cifar10.py'

model = dict(
    connections=[
        dict(
            student_tap='out.-1',
            teacher_tap='backbone.layer4',
            loss=dict(type='repfusion_mm.RelationalLoss')),
    ])
