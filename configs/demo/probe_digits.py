# What can be read of the digit from z(t), over t:
#   python tools/analysis_tools/probe_time.py configs/demo/probe_digits.py
_base_ = ['../_base_/datasets/digits.py', '../_base_/default_runtime.py']

teacher = dict(
    type='repfusion_mm.UNetTeacher',
    pretrained='configs/demo/dpm_digits',
    taps=['mid_block.resnets.1'])
timesteps = [0, 10, 30, 60, 100, 200, 300, 400, 500, 600, 700, 800, 900, 999]
labels_per_class = 5

train_dataloader = dict(
    batch_size=100,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        _delete_=True,
        type='repfusion_mm.Digits',
        split='train',
        pipeline={{_base_.test_pipeline}}))
