# ViT-S for 64x64 images, in 8x8 patches of 8 pixels.
_base_ = './vit_small.py'

backbone = dict(img_size=64, patch_size=8)
