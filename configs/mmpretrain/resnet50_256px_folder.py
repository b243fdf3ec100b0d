# Stage 2 on your own images at 256x256: the baseline, from random weights.
_base_ = ['../_base_/students/resnet50.py',
          '../_base_/classifier.py',
          '../_base_/datasets/folder_256px.py',
          '../_base_/schedules/adamw_5k.py',
          '../_base_/iter_runtime.py']

model = dict(
    backbone={{_base_.backbone}},
    head=dict(
        in_channels={{_base_.feature_dim}},
        num_classes=10))  # the number of folders
