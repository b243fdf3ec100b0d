# Stage 2 on WFLW: the baseline, heatmaps of a ResNet-50.
_base_ = ['../_base_/landmark_estimator.py',
          '../_base_/datasets/wflw_bs64.py',
          '../_base_/schedules/adam_60e.py',
          '../_base_/mmpose_runtime.py']

model = dict(
    backbone=dict(type='ResNet', depth=50),
    head=dict(
        type='HeatmapHead',
        in_channels=2048,
        out_channels=98,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder={{_base_.codec}}))
