# ResNet-18 with the CIFAR stem, 11.2 M parameters.
backbone = dict(type='ResNet_CIFAR', depth=18)
feature_dim = 512
