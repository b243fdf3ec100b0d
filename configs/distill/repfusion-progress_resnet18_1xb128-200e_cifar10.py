# Stage 1 on CIFAR-10 with the progress of the student as reward.
_base_ = './repfusion_resnet18_1xb128-200e_cifar10.py'

model = dict(
    reward=dict(
        _delete_=True,
        type='repfusion_mm.StudentProgressReward',
        num_classes=10))
