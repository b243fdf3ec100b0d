# Stage 1 on ImageNet: into a ViT-S.
_base_ = ['../_base_/students/vit_small.py',
          '../_base_/distill/imagenet.py',
          '../_base_/schedules/adamw_100e.py']

model = dict(backbone={{_base_.backbone}})
