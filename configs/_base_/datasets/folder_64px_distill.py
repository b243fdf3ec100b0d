# Your own images at 64x64 for distillation: any number without labels in one
# folder, and the few labelled ones again, often enough to fill a quarter of
# the batches if there are 20 times as many unlabelled ones.
#   data/my_images/unlabelled/**/*.jpg    data/my_images/train/<class>/*.jpg
_base_ = './folder_64px.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys='classes',  # the unlabelled folder knows none
        datasets=[
            dict(
                type='repfusion_mm.FewLabels',
                labels_per_class=0,
                part='unlabelled',
                dataset=dict(
                    type='CustomDataset',
                    data_root='data/my_images',
                    data_prefix='unlabelled',
                    with_label=False,
                    pipeline={{_base_.train_pipeline}})),
            dict(
                type='RepeatDataset',
                times=7,
                dataset=dict(
                    type='CustomDataset',
                    data_root='data/my_images',
                    data_prefix='train',
                    pipeline={{_base_.train_pipeline}})),
        ]))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
