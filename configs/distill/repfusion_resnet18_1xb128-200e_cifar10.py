# Stage 1 on CIFAR-10 as published: google/ddpm-cifar10-32 into a ResNet-18.
_base_ = ['../_base_/students/resnet18_cifar.py',
          '../_base_/distill/cifar10.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(backbone={{_base_.backbone}})
