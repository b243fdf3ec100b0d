# Stage 1 on CIFAR-10 with one learnt distribution of t for all images.
_base_ = './repfusion_resnet18_1xb128-200e_cifar10.py'

model = dict(
    time_sampler=dict(policy=dict(type='repfusion_mm.ConstantPolicy')))
