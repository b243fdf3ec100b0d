# Stage 1 on CIFAR-10 with attention transfer, on maps and not pooled.
_base_ = './repfusion_resnet18_1xb128-200e_cifar10.py'

model = dict(
    connections=[
        dict(
            student_tap='out.-1',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.AttentionTransferLoss')),
    ])
