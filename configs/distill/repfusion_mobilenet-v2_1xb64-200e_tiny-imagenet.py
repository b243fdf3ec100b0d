# Stage 1 on Tiny-ImageNet: into a MobileNetV2.
_base_ = ['../_base_/students/mobilenet_v2.py',
          '../_base_/distill/tiny_imagenet.py',
          '../_base_/schedules/sgd_nesterov_200e.py']

model = dict(backbone={{_base_.backbone}})
