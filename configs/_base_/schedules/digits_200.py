# Fine-tuning on the digits: 200 steps.
train_cfg = dict(by_epoch=False, max_iters=200, val_interval=200)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=20, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=20, by_epoch=False),
]
