# What can be read of CIFAR-10's classes at 16x16 from z(t), over t:
#   python tools/analysis_tools/probe_time.py configs/dpm/probe_16px_cifar10.py
_base_ = ['../_base_/default_runtime.py']

teacher = dict(
    type='repfusion_mm.UNetTeacher',
    pretrained='work_dirs/unet_16px_cifar10/dpm',
    taps=['mid_block.resnets.1'])
timesteps = [0, 25, 50, 100, 200, 400, 700, 999]
labels_per_class = 25  # of the 100 that are drawn from, for each seed

data_preprocessor = dict(
    type='ClsDataPreprocessor',
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255],
    to_rgb=True)  # images are read as BGR
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=16, interpolation='area'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=100,
    num_workers=0,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.FewLabels',
        part='labelled',
        labels_per_class=100,
        seed=0,
        dataset=dict(
            type='CustomDataset',
            data_root='data/cifar10_images',
            data_prefix='train',
            pipeline=pipeline)))
# images that the diffusion model has not seen
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.FewLabels',
        part='labelled',
        labels_per_class=40,
        seed=0,
        dataset=dict(
            type='CustomDataset',
            data_root='data/cifar10_images',
            data_prefix='test',
            pipeline=pipeline)))
