# ConvNeXt-T for 32x32 images, which end as 4x4.
_base_ = './convnext_tiny.py'

backbone = dict(stem_patch_size=1)
