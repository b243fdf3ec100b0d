# ConvNeXt-T for 64x64 images, which end as 4x4.
_base_ = './convnext_tiny.py'

backbone = dict(stem_patch_size=2)
