# Stage 2 on Tiny-ImageNet: the baseline, a MobileNetV2 from random weights.
_base_ = ['../_base_/students/mobilenet_v2.py',
          '../_base_/classifier.py',
          '../_base_/datasets/tiny_imagenet_bs64.py',
          '../_base_/schedules/sgd_nesterov_200e.py',
          '../_base_/default_runtime.py']

model = dict(
    backbone={{_base_.backbone}},
    head=dict(
        in_channels={{_base_.feature_dim}},
        num_classes={{_base_.data_preprocessor.num_classes}}))
