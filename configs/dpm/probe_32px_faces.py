# What can be read of 68 landmarks of faces at 32x32 from z(t), over t:
#   python tools/analysis_tools/probe_time.py configs/dpm/probe_32px_faces.py
# In mmpose's format: data/faces/images/{train,test}/*.jpg, which
# unet_32px_faces.py takes without landmarks, and
# data/faces/annotations/{train,test}.json.
_base_ = ['../_base_/mmpose_runtime.py']

teacher = dict(
    type='repfusion_mm.UNetTeacher',
    pretrained='work_dirs/unet_32px_faces/dpm',
    taps=['mid_block.resnets.1'])
timesteps = [0, 25, 50, 100, 200, 300, 400, 500, 700, 999]
labels_per_class = 50  # in all, of the 200 that are drawn from, for each seed

data_preprocessor = dict(
    type='PoseDataPreprocessor',
    mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5],
    bgr_to_rgb=True)
pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale', padding=1.5),  # about the whole image
    dict(type='TopdownAffine', input_size=(32, 32)),
    dict(type='PackPoseInputs', pack_transformed=True),
]
train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.FewLabels',
        num_labelled=200,
        seed=0,
        dataset=dict(
            type='CocoDataset',
            data_mode='topdown',
            data_root='data/faces',
            ann_file='annotations/train.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(from_file='configs/_base_/datasets/300w.py'),
            pipeline=pipeline)))
# faces of other people
val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.FewLabels',
        num_labelled=400,
        seed=0,
        dataset=dict(
            type='CocoDataset',
            data_mode='topdown',
            data_root='data/faces',
            ann_file='annotations/test.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(from_file='configs/_base_/datasets/300w.py'),
            pipeline=pipeline)))
