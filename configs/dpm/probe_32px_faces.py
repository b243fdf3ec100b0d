# What can be read of 68 landmarks of faces at 32x32 from z(t), over t:
#   python tools/analysis_tools/probe_time.py configs/dpm/probe_32px_faces.py
_base_ = ['../_base_/mmpose_runtime.py']

teacher = dict(
    type='repfusion_mm.UNetTeacher',
    pretrained='work_dirs/unet_32px_faces/dpm',
    taps=['up_blocks.0.resnets.1'])
timesteps = [0, 10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 600, 800, 999]
labels_per_class = 100  # annotated faces, others for each seed

data_preprocessor = dict(
    type='PoseDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)
codec = dict(
    type='MSRAHeatmap', input_size=(32, 32), heatmap_size=(8, 8), sigma=1)
pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=(32, 32)),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs', pack_transformed=True),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root='data/faces',
        data_mode='topdown',
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(from_file='configs/_base_/datasets/300w.py'),
        indices=600,
        pipeline=pipeline))
# of other people
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root='data/faces',
        data_mode='topdown',
        ann_file='annotations/test.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(from_file='configs/_base_/datasets/300w.py'),
        pipeline=pipeline))
