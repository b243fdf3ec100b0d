# The runtime of mmseg for training that counts iterations and not epochs.
_base_ = './mmseg_runtime.py'

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=16000))
log_processor = dict(by_epoch=False)
