# Stage 2 on WFLW: the baseline, RTMPose-s from random weights.
_base_ = ['../_base_/students/cspnext_s.py',
          '../_base_/landmark_estimator.py',
          '../_base_/datasets/wflw_simcc_bs64.py',
          '../_base_/schedules/adamw_60e.py',
          '../_base_/mmpose_runtime.py']

model = dict(
    backbone={{_base_.backbone}},
    head=dict(
        type='RTMCCHead',
        in_channels=512,
        out_channels=98,
        input_size=(256, 256),
        in_featuremap_size=(8, 8),
        simcc_split_ratio=2.0,
        final_layer_kernel_size=7,
        gau_cfg=dict(
            hidden_dims=256,
            s=128,
            expansion_factor=2,
            dropout_rate=0.,
            drop_path=0.,
            act_fn='SiLU',
            use_rel_bias=False,
            pos_enc=False),
        loss=dict(
            type='KLDiscretLoss',
            use_target_weight=True,
            beta=10.,
            label_softmax=True),
        decoder={{_base_.codec}}),
    test_cfg=dict(_delete_=True, flip_test=True))
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002,
         update_buffers=True, priority=49),
    dict(type='repfusion_mm.PretrainedCheckHook'),
]
