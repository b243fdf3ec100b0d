# Stage 1 on CIFAR-100: into a ResNet-18.
_base_ = ['../_base_/students/resnet18_cifar.py',
          '../_base_/distill/cifar100.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(backbone={{_base_.backbone}})
