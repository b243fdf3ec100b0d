# The training images of CelebA-HQ at 256x256, to train a diffusion model on.
train_dataloader = dict(
    batch_size=8,  # on each of 8 GPUs
    num_workers=4,
    pin_memory=True,
    persistent_workers=True,
    collate_fn=dict(type='default_collate'),  # stacked by the workers
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CustomDataset',
        data_root='data/celebamask_hq',
        data_prefix='images/train',
        with_label=False,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=256, interpolation='area'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]))
