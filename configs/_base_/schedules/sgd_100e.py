# ImageNet's usual schedule: 100 epochs, steps at 30, 60 and 90.
_base_ = './sgd_200e.py'

param_scheduler = dict(milestones=[30, 60, 90])
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=256)
