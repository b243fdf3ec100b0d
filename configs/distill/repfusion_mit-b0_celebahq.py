# Stage 1 on CelebA-HQ: into a MiT-B0, SegFormer's encoder.
_base_ = ['../_base_/students/mit_b0.py',
          '../_base_/distill/celebahq.py',
          '../_base_/schedules/adamw_200e.py']

model = dict(backbone={{_base_.backbone}})
