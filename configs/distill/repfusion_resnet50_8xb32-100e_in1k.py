# Stage 1 on ImageNet: into a ResNet-50.
_base_ = ['../_base_/students/resnet50.py',
          '../_base_/distill/imagenet.py',
          '../_base_/schedules/sgd_100e.py']

model = dict(backbone={{_base_.backbone}})
