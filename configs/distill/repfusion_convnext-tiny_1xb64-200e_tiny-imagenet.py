# Stage 1 on Tiny-ImageNet: into a ConvNeXt-T.
_base_ = ['../_base_/students/convnext_tiny_64px.py',
          '../_base_/distill/tiny_imagenet.py',
          '../_base_/schedules/adamw_200e.py']

model = dict(backbone={{_base_.backbone}})
