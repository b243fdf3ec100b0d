# The training digits without their labels, to train a diffusion model on.
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    pin_memory=True,
    persistent_workers=False,  # mmpretrain's train.py sets it otherwise
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='repfusion_mm.FewLabels',
        labels_per_class=0,
        part='unlabelled',
        dataset=dict(
            type='repfusion_mm.Digits',
            split='train',
            pipeline=[
                dict(type='RandomCrop', crop_size=16, padding=2),
                dict(type='PackInputs'),
            ])))
