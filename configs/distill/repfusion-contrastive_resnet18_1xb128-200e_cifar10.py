# Stage 1 on CIFAR-10 with a reward that needs no labels.
_base_ = './repfusion_resnet18_1xb128-200e_cifar10.py'

model = dict(
    reward=dict(_delete_=True, type='repfusion_mm.ContrastiveReward'))
