# Stage 2 on the digits: the same from a distilled backbone.
_base_ = './resnet18_scratch_digits.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet18_reinforced_digits/'
            'iter_500.pth',
            prefix='backbone.')))
