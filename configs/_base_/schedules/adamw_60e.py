# RTMPose's own schedule at 60 epochs: a cosine over the second half.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0., bias_decay_mult=0., bypass_duplicate=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5, end=1000, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=2e-4, begin=30, end=60, T_max=30,
         by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=1)
auto_scale_lr = dict(base_batch_size=512)
