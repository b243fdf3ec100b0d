# Stage 1 on CIFAR-10: into a ViT-S.
_base_ = ['../_base_/students/vit_small_32px.py',
          '../_base_/distill/cifar10.py',
          '../_base_/schedules/adamw_200e.py']

model = dict(backbone={{_base_.backbone}})
