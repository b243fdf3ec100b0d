# A diffusion model of CelebA-HQ, built like google/ddpm-ema-celebahq-256.
_base_ = ['../_base_/datasets/celebahq_unlabelled.py',
          '../_base_/dpm/ddpm.py']

model = dict(
    type='repfusion_mm.DPM',
    channel_order='bgr',  # as images are read
    denoiser=dict(
        sample_size=256,
        layers_per_block=2,
        block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=('DownBlock2D', 'DownBlock2D', 'DownBlock2D',
                          'DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D',
                        'UpBlock2D', 'UpBlock2D', 'UpBlock2D'),
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        attention_head_dim=None,
        norm_eps=1e-6,
        add_attention=True))

train_cfg = dict(by_epoch=False, max_iters=500000)
optim_wrapper = dict(optimizer=dict(lr=2e-5))
auto_scale_lr = dict(base_batch_size=64)
