# ConvNeXt-T, 27.8 M parameters. The last feature stays a map.
backbone = dict(
    type='ConvNeXt',
    arch='tiny',
    drop_path_rate=0.1,
    gap_before_final_norm=False)
feature_dim = 768
