# ViT-S/16, 21.7 M parameters: no class token, the patches end as a map.
backbone = dict(
    type='VisionTransformer',
    arch='deit-small',  # what the field calls ViT-S; mmpretrain's is another
    img_size=224,
    patch_size=16,
    with_cls_token=False,
    out_type='featmap',
    drop_path_rate=0.1)
feature_dim = 384
