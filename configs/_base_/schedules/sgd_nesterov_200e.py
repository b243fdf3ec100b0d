# The published schedule for Tiny-ImageNet: 200 epochs, steps at 100 and 150.
_base_ = './sgd_200e.py'

optim_wrapper = dict(optimizer=dict(nesterov=True))
auto_scale_lr = dict(base_batch_size=64)
