# Stage 2 on WFLW: the baseline, heatmaps of an HRNetV2-W18.
_base_ = ['../_base_/students/hrnet_w18.py',
          '../_base_/landmark_estimator.py',
          '../_base_/datasets/wflw_bs64.py',
          '../_base_/schedules/adam_60e.py',
          '../_base_/mmpose_runtime.py']

model = dict(
    backbone={{_base_.backbone}},
    neck=dict(type='FeatureMapProcessor', concat=True),
    head=dict(
        type='HeatmapHead',
        in_channels=270,
        out_channels=98,
        deconv_out_channels=None,
        conv_out_channels=(270, ),
        conv_kernel_sizes=(1, ),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder={{_base_.codec}}))
