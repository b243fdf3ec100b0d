# Stage 1 on CIFAR-10 with a range of t for each of two connections.
_base_ = './repfusion-uniform_resnet18_1xb128-200e_cifar10.py'

model = dict(
    time_sampler=dict(max_t=[50, 200]),
    connections=[
        dict(
            student_tap='layer3',
            teacher_tap='down_blocks.3.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
        dict(
            student_tap='layer4',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', pool=True)),
    ])
