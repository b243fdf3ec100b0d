# Stage 1 on CIFAR-10: into a ShuffleNetV2.
_base_ = ['../_base_/students/shufflenet_v2.py',
          '../_base_/distill/cifar10.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(backbone={{_base_.backbone}})
