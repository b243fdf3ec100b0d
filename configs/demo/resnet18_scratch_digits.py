# Stage 2 on the digits: the baseline, from random weights.
_base_ = ['../_base_/models/resnet18_digits.py',
          '../_base_/datasets/digits.py',
          '../_base_/schedules/digits_200.py',
          '../_base_/iter_runtime.py']

custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
