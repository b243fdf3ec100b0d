"""The teachers and students whose steps are timed."""

PAIRS = dict(
    cifar10=dict(
        config='distill/repfusion_resnet18_1xb128-200e_cifar10.py',
        denoiser='dpm/unet_32px_cifar10.py', size=32),
    tiny_imagenet=dict(
        config='distill/repfusion_resnet18_1xb64-200e_tiny-imagenet.py',
        size=64),
    celebahq=dict(
        config='distill/repfusion_resnet50_celebahq.py',
        denoiser='dpm/unet_256px_celebahq.py', size=256),
    toy=dict(  # to see that everything runs
        config='distill/repfusion_resnet18_1xb128-200e_cifar10.py',
        denoiser=dict(
            sample_size=16, layers_per_block=1, block_out_channels=(8, 16),
            norm_num_groups=4, attention_head_dim=8,
            down_block_types=('DownBlock2D', 'DownBlock2D'),
            up_block_types=('UpBlock2D', 'UpBlock2D')),
        student=dict(stem_channels=4, base_channels=4), size=16))
