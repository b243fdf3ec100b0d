# The 1,797 handwritten digits of scikit-learn: classification.
# A few labels: `train_dataloader.dataset.dataset.labels_per_class`.
data_preprocessor = dict(
    type='ClsDataPreprocessor',
    mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5],
    to_rgb=False)  # the data set is RGB already

train_pipeline = [
    dict(type='RandomCrop', crop_size=16, padding=2),  # no flip: 2 is not 5
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=40,
    num_workers=0,
    pin_memory=True,
    persistent_workers=False,  # mmpretrain's train.py sets it otherwise
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=4,  # so that one draw is a batch, whatever the few labels
        dataset=dict(
            type='repfusion_mm.FewLabels',
            labels_per_class=2,
            part='labelled',
            seed=0,
            dataset=dict(
                type='repfusion_mm.Digits',
                split='train',
                pipeline=train_pipeline))))
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    pin_memory=True,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.Digits', split='val', pipeline=test_pipeline))
val_evaluator = dict(type='Accuracy', topk=1)
test_dataloader = dict(
    batch_size=100,
    num_workers=0,
    pin_memory=True,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='repfusion_mm.Digits', split='test', pipeline=test_pipeline))
test_evaluator = val_evaluator
