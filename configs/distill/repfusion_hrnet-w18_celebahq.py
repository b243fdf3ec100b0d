# Stage 1 on CelebA-HQ: into an HRNet-W18, whose four scales are fused.
_base_ = ['../_base_/students/hrnet_w18.py',
          '../_base_/distill/celebahq.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(
    backbone={{_base_.backbone}},
    regressor=dict(type='mmpretrain.HRFuseScales', out_channels=2048),
    connections=[
        dict(
            student_tap='regressor.0',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', distance='l1',
                      loss_weight=10.)),
    ])
