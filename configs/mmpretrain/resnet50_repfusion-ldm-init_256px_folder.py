# Stage 2 on your own images at 256x256: from the backbone that
# configs/distill/repfusion-ldm_resnet50_256px_folder.py distilled.
_base_ = './resnet50_256px_folder.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/repfusion-ldm_resnet50_256px_folder/'
            'iter_5000.pth',
            prefix='backbone.')))
