# Stage 2 on CIFAR-10: the baseline, from random weights.
_base_ = ['../_base_/models/resnet18_cifar.py',
          '../_base_/datasets/cifar10_bs128.py',
          '../_base_/schedules/sgd_200e.py',
          '../_base_/default_runtime.py']

val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
