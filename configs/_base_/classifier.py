# An image classifier; what it stands on is named by each config.
model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0)))

val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
