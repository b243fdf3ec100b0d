# The published schedule for CelebAMask-HQ: 160,000 iterations.
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=5e-3, momentum=0.9, weight_decay=0.0005))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=1000, by_epoch=False),
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=1000, end=160000,
         by_epoch=False),
]
train_cfg = dict(by_epoch=False, max_iters=160000, val_interval=16000)
auto_scale_lr = dict(base_batch_size=16)
