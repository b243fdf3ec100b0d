# The nearest to a Wide ResNet-28-10 that mmpretrain has: 28 layers and 160,
# 320 and 640 channels as there, but 3, 4 and 6 blocks in place of 4, 4 and 4,
# and activations behind the convolutions. 50.8 M parameters, not 36.5 M.
backbone = dict(
    type='ResNet_CIFAR',
    depth=34,  # of whose four stages the first three
    num_stages=3,
    strides=(1, 2, 2),
    dilations=(1, 1, 1),
    out_indices=(2, ),
    stem_channels=16,
    base_channels=160)
feature_dim = 640
