# ResNet-50, 23.5 M parameters.
backbone = dict(type='ResNet', depth=50)
feature_dim = 2048
