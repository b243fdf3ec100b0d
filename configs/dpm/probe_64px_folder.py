# What can be read of your classes from z(t), over t:
#   python tools/analysis_tools/probe_time.py configs/dpm/probe_64px_folder.py
_base_ = ['../_base_/datasets/folder_64px.py',
          '../_base_/default_runtime.py']

teacher = dict(
    type='repfusion_mm.UNetTeacher',
    pretrained='work_dirs/unet_64px_folder/dpm',
    taps=['mid_block.resnets.1'])
timesteps = [0, 10, 30, 60, 100, 200, 300, 400, 500, 600, 700, 800, 900, 999]
labels_per_class = None  # all of them

train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline={{_base_.test_pipeline}}))
