# Stage 2 on CIFAR-10: the baseline, from random weights.
_base_ = ['../_base_/students/resnet50_cifar.py',
          '../_base_/classifier.py',
          '../_base_/datasets/cifar10_bs128.py',
          '../_base_/schedules/sgd_200e.py',
          '../_base_/default_runtime.py']

model = dict(
    backbone={{_base_.backbone}},
    head=dict(
        in_channels={{_base_.feature_dim}},
        num_classes={{_base_.data_preprocessor.num_classes}}))
