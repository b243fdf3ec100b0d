# Stage 1 on CelebA-HQ: into a CSPNeXt-s, RTMPose-s's backbone.
_base_ = ['../_base_/students/cspnext_s.py',
          '../_base_/distill/celebahq.py',
          '../_base_/schedules/adamw_200e.py']

model = dict(backbone={{_base_.backbone}})
