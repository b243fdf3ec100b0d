# ViT-S for 32x32 images, in 8x8 patches of 4 pixels.
_base_ = './vit_small.py'

backbone = dict(img_size=32, patch_size=4)
