# Stage 2 on ImageNet: the baseline, a ResNet-50 from random weights.
_base_ = ['../_base_/students/resnet50.py',
          '../_base_/classifier.py',
          '../_base_/datasets/imagenet_bs32.py',
          '../_base_/schedules/sgd_100e.py',
          '../_base_/default_runtime.py']

model = dict(
    backbone={{_base_.backbone}},
    head=dict(
        in_channels={{_base_.feature_dim}},
        num_classes={{_base_.data_preprocessor.num_classes}}))
