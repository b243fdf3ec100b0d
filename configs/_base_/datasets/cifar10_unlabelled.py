# CIFAR-10 without its labels, to train a diffusion model on.
train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    pin_memory=True,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),  # stacked by the workers
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='repfusion_mm.FewLabels',
        labels_per_class=0,
        part='unlabelled',
        dataset=dict(
            type='CIFAR10',
            data_root='data/cifar10',
            split='train',
            pipeline=[
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                dict(type='PackInputs'),
            ])))
