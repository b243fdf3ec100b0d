# ResNet-18, 11.2 M parameters.
backbone = dict(type='ResNet', depth=18)
feature_dim = 512
