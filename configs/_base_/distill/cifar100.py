# Stage 1 on CIFAR-100, for any student. No diffusion model of CIFAR-100 is
# released: the teacher is CIFAR-10's.
_base_ = ['./repfusion_ddpm-cifar10.py', '../datasets/cifar100_bs128.py']

model = dict(
    data_preprocessor={{_base_.data_preprocessor}},
    reward=dict(num_classes={{_base_.data_preprocessor.num_classes}}))

# a backbone alone has nothing to validate
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
