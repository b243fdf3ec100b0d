# A diffusion model of your own images at 64x64, no labels: 11 M parameters.
_base_ = ['../_base_/iter_runtime.py']

model = dict(
    type='repfusion_mm.DPM',
    channel_order='bgr',  # as images are read
    denoiser=dict(
        sample_size=64,
        layers_per_block=2,
        block_out_channels=(64, 64, 128, 192),
        down_block_types=('DownBlock2D', 'DownBlock2D', 'DownBlock2D',
                          'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D',
                        'UpBlock2D')))

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),  # stacked by the workers
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root='data/my_images',
        data_prefix='unlabelled',
        with_label=False,
        pipeline=[
            dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
            dict(type='RandomResizedCrop', scale=64,
                 crop_ratio_range=(0.6, 1.0)),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))

train_cfg = dict(by_epoch=False, max_iters=50000)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-4), clip_grad=dict(max_norm=1.))
auto_scale_lr = dict(base_batch_size=64)
custom_hooks = [
    dict(type='EMAHook', momentum=0.0005),
    dict(type='repfusion_mm.DPMExportHook'),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
