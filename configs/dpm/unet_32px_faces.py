# A diffusion model of faces at 32x32, no labels: 0.9 M parameters.
#   data/faces/images/train/*.jpg; 15 minutes on one CPU core
_base_ = './unet_64px_folder.py'

model = dict(
    denoiser=dict(
        _delete_=True,
        sample_size=32,
        layers_per_block=1,
        block_out_channels=(16, 32, 64),
        norm_num_groups=8,
        attention_head_dim=16,
        down_block_types=('DownBlock2D', 'DownBlock2D', 'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D')))

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/faces/images/train',
        data_prefix='',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=32,
                 crop_ratio_range=(0.6, 1.0), aspect_ratio_range=(1., 1.),
                 interpolation='area'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))

train_cfg = dict(max_iters=3000)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = dict(
    type='OneCycleLR', eta_max=1e-3, total_steps=3000, by_epoch=False)
auto_scale_lr = dict(base_batch_size=32)
custom_hooks = [
    dict(type='EMAHook', momentum=0.002),
    dict(type='repfusion_mm.DPMExportHook'),
]
