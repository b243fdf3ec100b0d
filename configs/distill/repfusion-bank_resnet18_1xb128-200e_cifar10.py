# Stage 1 on CIFAR-10 from a feature bank: the same t for every image, which
# the diffusion model sees whole, once as it is and once mirrored. 52 MB.
_base_ = './repfusion-fixed_resnet18_1xb128-200e_cifar10.py'

model = dict(
    teacher=dict(
        _delete_=True,
        type='repfusion_mm.BankedTeacher',
        teacher={{_base_.model.teacher}},
        bank='work_dirs/bank_ddpm-cifar10_cifar10-train_t100',
        dataset=dict(
            type='CIFAR10',
            data_root='data/cifar10',
            split='train',
            pipeline={{_base_.test_pipeline}}),
        channel_order='rgb',  # mmpretrain's CIFAR is not read as BGR
        timesteps=[100]))
