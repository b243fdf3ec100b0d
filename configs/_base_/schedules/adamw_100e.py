# For transformers and ConvNeXt on ImageNet: 100 epochs.
_base_ = './adamw_200e.py'

optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=256)
