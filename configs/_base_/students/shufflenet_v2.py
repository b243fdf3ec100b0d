# ShuffleNetV2 1.0x for small images, 1.3 M parameters: it divides the side by
# 8 and not by 32.
backbone = dict(
    type='repfusion_mm.StridedBackbone',
    backbone=dict(type='mmpretrain.ShuffleNetV2'),
    strides={'conv1.conv': 1, 'maxpool': 1})
feature_dim = 1024
