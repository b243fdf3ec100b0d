# Stage 1 on Tiny-ImageNet as published, for any student. Published with fp16:
# add --amp to the command.
_base_ = ['./repfusion_guided-diffusion-64px.py',
          '../datasets/tiny_imagenet_bs64.py']

model = dict(
    data_preprocessor={{_base_.data_preprocessor}},
    reward=dict(num_classes={{_base_.data_preprocessor.num_classes}}))

# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
