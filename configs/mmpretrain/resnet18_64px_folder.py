# Stage 2 on your own images at 64x64: the baseline, from random weights.
_base_ = ['../_base_/datasets/folder_64px.py',
          '../_base_/schedules/adamw_5k.py',
          '../_base_/iter_runtime.py']

model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,  # the number of folders
        in_channels=512,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0)))
val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
