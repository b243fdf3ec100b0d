# SegFormer's own schedule: 160,000 iterations.
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=6e-5, weight_decay=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        custom_keys={'head': dict(lr_mult=10.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, end=1500, by_epoch=False),
    dict(type='PolyLR', eta_min=0., power=1., begin=1500, end=160000,
         by_epoch=False),
]
train_cfg = dict(by_epoch=False, max_iters=160000, val_interval=16000)
auto_scale_lr = dict(base_batch_size=16)
