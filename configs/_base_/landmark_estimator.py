# An estimator of landmarks; what it stands on is named by each config.
model = dict(
    type='TopdownPoseEstimator',
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True))

val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
