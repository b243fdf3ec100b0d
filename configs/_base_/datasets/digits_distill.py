# Digits of which a few are labelled, for distillation. A quarter of each batch
# are labelled images, the very ones that fine-tuning sees; the others have the
# label -1. Every arm of a comparison uses these same batches.
data_preprocessor = dict(
    type='ClsDataPreprocessor',
    mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5],
    to_rgb=False)  # the data set is RGB already

_digits = dict(
    type='repfusion_mm.Digits',
    split='train',
    pipeline=[
        dict(type='RandomCrop', crop_size=16, padding=2),
        dict(type='PackInputs'),
    ])
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    pin_memory=True,
    persistent_workers=False,  # mmpretrain's train.py sets it otherwise
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                type='repfusion_mm.FewLabels',
                dataset=_digits,
                labels_per_class=2,
                part='unlabelled',
                seed=0),
            dict(
                type='RepeatDataset',
                times=18,  # 20 x 18 labelled beside 1,077 unlabelled
                dataset=dict(
                    type='repfusion_mm.FewLabels',
                    dataset=_digits,
                    labels_per_class=2,
                    part='labelled',
                    seed=0)),
        ]))
