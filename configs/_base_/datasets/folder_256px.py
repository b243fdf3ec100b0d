# Your own images at 256x256: labelled ones in a folder for each class.
#   data/my_images/train/<class>/*.jpg    data/my_images/val/<class>/*.jpg
_base_ = './folder_64px.py'

train_pipeline = [
    dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
    dict(type='RandomResizedCrop', scale=256, crop_ratio_range=(0.4, 1.0)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='repfusion_mm.LoadCheckedImage', bad_images='raise'),
    dict(type='ResizeEdge', scale=288, edge='short'),
    dict(type='CenterCrop', crop_size=256),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=32, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
