# Stage 1 on ImageNet: into a ConvNeXt-T.
_base_ = ['../_base_/students/convnext_tiny.py',
          '../_base_/distill/imagenet.py',
          '../_base_/schedules/adamw_100e.py']

model = dict(backbone={{_base_.backbone}})
