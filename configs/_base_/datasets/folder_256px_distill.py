# Your own images at 256x256 for distillation, without labels.
#   data/my_images/unlabelled/**/*.jpg
_base_ = './folder_256px.py'

train_dataloader = dict(
    dataset=dict(data_prefix='unlabelled', with_label=False))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
