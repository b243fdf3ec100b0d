# Stage 1 on CIFAR-10: into a ResNet-50.
_base_ = ['../_base_/students/resnet50_cifar.py',
          '../_base_/distill/cifar10.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(backbone={{_base_.backbone}})
