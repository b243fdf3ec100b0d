# A diffusion model of CIFAR-10 at 16x16, no labels: 6.5 M parameters.
#   data/cifar10_images/train/<class>/*.jpg
_base_ = './unet_64px_folder.py'

model = dict(
    denoiser=dict(
        _delete_=True,
        sample_size=16,
        layers_per_block=2,
        block_out_channels=(64, 128, 128),
        attention_head_dim=64,
        down_block_types=('DownBlock2D', 'AttnDownBlock2D',
                          'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D')))

train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        data_root='data/cifar10_images',
        data_prefix='train',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=16, interpolation='area'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))

train_cfg = dict(max_iters=3000)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(base_batch_size=128)
custom_hooks = [
    dict(type='EMAHook', momentum=0.002),
    dict(type='repfusion_mm.DPMExportHook'),
]
