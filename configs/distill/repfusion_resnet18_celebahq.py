# Stage 1 on CelebA-HQ: into a ResNet-18, whose map meets the teacher's.
_base_ = ['../_base_/students/resnet18.py',
          '../_base_/distill/celebahq.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(backbone={{_base_.backbone}})
