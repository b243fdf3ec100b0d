# 5,000 steps, for small data sets.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, end=500, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=500, by_epoch=False),
]
train_cfg = dict(by_epoch=False, max_iters=5000, val_interval=500)
auto_scale_lr = dict(base_batch_size=64)
