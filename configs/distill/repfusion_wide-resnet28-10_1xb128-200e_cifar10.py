# Stage 1 on CIFAR-10: into a ResNet near Wide ResNet-28-10.
_base_ = ['../_base_/students/wide_resnet28_10.py',
          '../_base_/distill/cifar10.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(backbone={{_base_.backbone}})
