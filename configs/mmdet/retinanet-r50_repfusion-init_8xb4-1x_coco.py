# Stage 2 on COCO: the same from a distilled backbone.
_base_ = './retinanet-r50_8xb4-1x_coco.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion_resnet50_8xb32-100e_in1k/'
            'epoch_100.pth',
            prefix='backbone.')))
