# Stage 2 on CelebAMask-HQ: the baseline, SegFormer-B0.
_base_ = ['../_base_/students/mit_b0.py',
          '../_base_/models/segformer.py',
          '../_base_/datasets/celebamask_hq.py',
          '../_base_/schedules/adamw_160k.py',
          '../_base_/mmseg_iter_runtime.py']

model = dict(backbone={{_base_.backbone}})
