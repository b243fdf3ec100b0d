# MobileNetV2, 2.2 M parameters. mmpretrain's always divides the side by 32: a
# 32x32 image ends as one position, a 64x64 image as 2x2.
backbone = dict(type='MobileNetV2')
feature_dim = 1280
