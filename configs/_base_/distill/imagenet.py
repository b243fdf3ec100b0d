# Stage 1 on ImageNet, for any student; the teacher looks at 64x64.
_base_ = ['./repfusion_guided-diffusion-64px.py',
          '../datasets/imagenet_bs32.py']

model = dict(
    data_preprocessor={{_base_.data_preprocessor}},
    reward=dict(num_classes={{_base_.data_preprocessor.num_classes}}))

# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
