# CelebAMask-HQ in crops of 256x256 with its masks, for distillation.
_base_ = './celebamask_hq.py'

data_preprocessor = dict(size=(256, 256))
train_dataloader = dict(
    batch_size=32,  # on each of 4 GPUs
    sampler=dict(type='DefaultSampler'),  # which counts epochs
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomResize', scale=(256, 256), ratio_range=(1.0, 3.0),
             keep_ratio=True),
        dict(type='RandomCrop', crop_size=(256, 256)),
        dict(type='RandomFlip', prob=0.5,
             swap_seg_labels=[(3, 4), (5, 6), (7, 8)]),
        dict(type='PackSegInputs'),
    ]))
# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
