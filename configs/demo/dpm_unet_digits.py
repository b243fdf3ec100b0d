# A diffusion model of the digits: 1.5 M parameters, no labels.
# Its result is shipped as configs/demo/dpm_digits, trained by
#   python tools/train.py configs/demo/dpm_unet_digits.py
_base_ = ['../_base_/datasets/digits_unlabelled.py',
          '../_base_/iter_runtime.py']

model = dict(
    type='repfusion_mm.DPM',
    denoiser=dict(
        sample_size=16,
        in_channels=1,  # grey
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(24, 48, 96),
        norm_num_groups=8,
        attention_head_dim=16,
        down_block_types=('DownBlock2D', 'DownBlock2D', 'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D')))

train_cfg = dict(by_epoch=False, max_iters=6000)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.))
param_scheduler = dict(
    type='OneCycleLR', eta_max=2e-3, total_steps=6000, by_epoch=False)
custom_hooks = [
    dict(type='EMAHook', momentum=0.002),
    dict(type='repfusion_mm.DPMExportHook', half=True),
]
