# CSPNeXt-s of mmpose, RTMPose-s's backbone, 4.4 M parameters.
backbone = dict(
    type='mmpose.CSPNeXt',
    arch='P5',
    deepen_factor=0.33,
    widen_factor=0.5,
    expand_ratio=0.5,
    channel_attention=True,
    out_indices=(4, ),
    norm_cfg=dict(type='BN'),
    act_cfg=dict(type='SiLU'))
feature_dim = 512
