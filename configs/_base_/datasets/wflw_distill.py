# WFLW with its landmarks in pixels of the input, for distillation.
_base_ = './wflw_bs64.py'

train_dataloader = dict(
    batch_size=32,  # on each of 4 GPUs
    dataset=dict(pipeline=[
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='RandomBBoxTransform', shift_prob=0, rotate_factor=60,
             scale_factor=(0.75, 1.25)),
        dict(type='TopdownAffine', input_size=(256, 256)),
        dict(type='PackPoseInputs', pack_transformed=True),
    ]))
# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
