# MobileNetV2 for small images, 2.2 M parameters: it divides the side by 8, as
# is usual on CIFAR, and not by 32.
backbone = dict(
    type='repfusion_mm.StridedBackbone',
    backbone=dict(type='mmpretrain.MobileNetV2'),
    strides={'conv1.conv': 1, 'layer2.0.conv.1.conv': 1})
feature_dim = 1280
