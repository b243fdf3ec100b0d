# Stage 2 on CelebAMask-HQ: the baseline, BiSeNetV1 on a ResNet-50.
_base_ = ['../_base_/models/bisenetv1_r50.py',
          '../_base_/datasets/celebamask_hq.py',
          '../_base_/schedules/sgd_160k.py',
          '../_base_/mmseg_iter_runtime.py']

train_dataloader = dict(batch_size=4)
