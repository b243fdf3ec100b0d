# A diffusion model of aligned faces at 32x32, no labels: 2.7 M parameters, for
# the study (docs/study.md) on CPU cores. One folder of images:
#   data/faces/images/train/**/*.jpg
_base_ = './unet_64px_folder.py'

model = dict(
    denoiser=dict(
        sample_size=32,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=32,
        block_out_channels=(32, 64, 128),
        down_block_types=('DownBlock2D', 'DownBlock2D', 'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D')))

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(
        data_root='data/faces/images',
        data_prefix='train',
        pipeline=[
            dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
            dict(type='Resize', scale=32, interpolation='area'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))

train_cfg = dict(max_iters=2500)
param_scheduler = dict(
    type='OneCycleLR', eta_max=1e-3, total_steps=2500, by_epoch=False)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
custom_hooks = [
    dict(type='EMAHook', momentum=0.004),
    dict(type='repfusion_mm.DPMExportHook'),
]
