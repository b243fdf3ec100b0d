# Stage 1 on CIFAR-10 as published, for any student.
_base_ = ['./repfusion_ddpm-cifar10.py',
          '../datasets/cifar10_bs128.py']

model = dict(
    data_preprocessor={{_base_.data_preprocessor}},
    reward=dict(num_classes={{_base_.data_preprocessor.num_classes}}))

# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
