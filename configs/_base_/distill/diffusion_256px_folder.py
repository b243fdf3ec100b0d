# Stage 1 on your own images at 256x256, into a ResNet-50, at a fixed t.
_base_ = ['../students/resnet50.py',
          '../datasets/folder_256px_distill.py',
          '../schedules/adamw_5k.py',
          '../iter_runtime.py']

model = dict(
    type='repfusion_mm.RepFusion',
    data_preprocessor={{_base_.data_preprocessor}},
    backbone={{_base_.backbone}})

default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))
custom_hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
