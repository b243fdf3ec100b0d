# Stage 1 on Tiny-ImageNet: into a ViT-S.
_base_ = ['../_base_/students/vit_small_64px.py',
          '../_base_/distill/tiny_imagenet.py',
          '../_base_/schedules/adamw_200e.py']

model = dict(backbone={{_base_.backbone}})
