"""What the jobs have in common."""
STAGE_1 = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
SCRATCH = 'configs/demo/resnet18_scratch_digits.py'
SMALL = {'model.backbone.stem_channels': 4, 'model.backbone.base_channels': 4,
         'train_dataloader.batch_size': 8}
STEPS, EVERY = 12, 3
COSINE = [dict(type='CosineAnnealingLR', T_max=STEPS, by_epoch=False)]
WORKERS = {'train_dataloader.num_workers': 2,
           'train_dataloader.persistent_workers': True}
EMA = dict(type='EMAHook', momentum=0.1)
