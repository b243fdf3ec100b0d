# Stage 1 on CelebA-HQ: into a ResNet-50, by ten times the L1 distance.
_base_ = ['../_base_/students/resnet50.py',
          '../_base_/distill/celebahq.py',
          '../_base_/schedules/sgd_200e.py']

model = dict(
    backbone={{_base_.backbone}},
    connections=[
        dict(
            student_tap='out.-1',
            teacher_tap='mid_block.resnets.1.conv2',
            loss=dict(type='repfusion_mm.HintLoss', distance='l1',
                      loss_weight=10.)),
    ])
