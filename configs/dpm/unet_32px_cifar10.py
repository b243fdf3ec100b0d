# A diffusion model of CIFAR-10, built like google/ddpm-cifar10-32.
_base_ = ['../_base_/datasets/cifar10_unlabelled.py',
          '../_base_/dpm/ddpm.py']

model = dict(
    type='repfusion_mm.DPM',
    denoiser=dict(
        sample_size=32,
        layers_per_block=2,
        block_out_channels=(128, 256, 256, 256),
        down_block_types=('DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D',
                          'DownBlock2D'),
        up_block_types=('UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D',
                        'UpBlock2D'),
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        attention_head_dim=None,
        norm_eps=1e-6,
        add_attention=True))

train_cfg = dict(by_epoch=False, max_iters=400000)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
auto_scale_lr = dict(base_batch_size=128)
