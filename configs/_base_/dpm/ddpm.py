# Training a diffusion model, as DDPM was; the learning rate and the number of
# steps are named by each config.
_base_ = '../iter_runtime.py'

optim_wrapper = dict(
    optimizer=dict(type='Adam'), clip_grad=dict(max_norm=1.))
param_scheduler = dict(
    type='LinearLR', start_factor=1e-4, end=5000, by_epoch=False)
custom_hooks = [
    dict(type='EMAHook', momentum=0.0001),
    dict(type='repfusion_mm.DPMExportHook'),
]
# each process draws time steps and noise of its own
randomness = dict(diff_rank_seed=True)
