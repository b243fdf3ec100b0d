# Fine-tuning on the digits: 300 steps.
train_cfg = dict(by_epoch=False, max_iters=300, val_interval=300)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = dict(
    type='OneCycleLR', eta_max=2e-3, total_steps=300, by_epoch=False)
