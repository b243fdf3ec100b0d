# Stage 2 on Tiny-ImageNet: the baseline, a ViT-S from random weights.
_base_ = ['../_base_/students/vit_small_64px.py',
          '../_base_/classifier.py',
          '../_base_/datasets/tiny_imagenet_bs64.py',
          '../_base_/schedules/adamw_200e.py',
          '../_base_/default_runtime.py']

model = dict(
    backbone={{_base_.backbone}},
    head=dict(
        in_channels={{_base_.feature_dim}},
        num_classes={{_base_.data_preprocessor.num_classes}}))
