# CelebAMask-HQ in crops of 448x448, its 18 parts without background; as
# tools/dataset_converters/celebamask_hq.py writes it.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size=(448, 448))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 2.0),
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=(448, 448), cat_max_ratio=0.75),
    # a left eye becomes a right one: eyes, brows, ears
    dict(type='RandomFlip', prob=0.5,
         swap_seg_labels=[(3, 4), (5, 6), (7, 8)]),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    pin_memory=True,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='repfusion_mm.CelebAMaskHQ',
        data_root='data/celebamask_hq',
        data_prefix=dict(
            img_path='images/train', seg_map_path='annotations/train'),
        background=False,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    pin_memory=True,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.CelebAMaskHQ',
        data_root='data/celebamask_hq',
        data_prefix=dict(
            img_path='images/val', seg_map_path='annotations/val'),
        background=False,
        pipeline=test_pipeline))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    pin_memory=True,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.CelebAMaskHQ',
        data_root='data/celebamask_hq',
        data_prefix=dict(
            img_path='images/test', seg_map_path='annotations/test'),
        background=False,
        pipeline=test_pipeline))
test_evaluator = val_evaluator
