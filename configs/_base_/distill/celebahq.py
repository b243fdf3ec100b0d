# Stage 1 on CelebA-HQ as published, for any student: no labels, no policy.
_base_ = ['./repfusion_ddpm-celebahq.py',
          '../datasets/celebahq_256px.py',
          '../default_runtime.py']

model = dict(data_preprocessor={{_base_.data_preprocessor}})
default_hooks = dict(defer_log=dict(type='repfusion_mm.DeferLogHook'))

# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
