# ResNet-50 with the CIFAR stem, 23.5 M parameters.
backbone = dict(type='ResNet_CIFAR', depth=50)
feature_dim = 2048
