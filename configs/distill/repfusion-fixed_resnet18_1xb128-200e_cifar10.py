# Stage 1 on CIFAR-10 with the same t for every image.
_base_ = './repfusion-uniform_resnet18_1xb128-200e_cifar10.py'

model = dict(
    time_sampler=dict(_delete_=True, type='repfusion_mm.FixedTime', t=100))
