# ShuffleNetV2 1.0x, 1.3 M parameters. mmpretrain's always divides the side by
# 32: a 32x32 image ends as one position, a 64x64 image as 2x2.
backbone = dict(type='ShuffleNetV2')
feature_dim = 1024
