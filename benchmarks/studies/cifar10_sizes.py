"""How large the study on CIFAR-10 is: images, networks, budgets."""

NUM_VAL = 200  # validation images of each class

_TOY_RESNET = dict(stem_channels=4, base_channels=4)
_FAST = dict(dtype='bfloat16', channels_last=True)
SIZES = {
    # 16x16 pixels, half of a ResNet-18's channels, in bfloat16: hours of two
    # CPU cores that multiply matrices in it, minutes of a GPU
    '16px': dict(
        image_size=16,
        images_per_class=5000 - NUM_VAL,
        test_per_class=1000,
        val_per_class=NUM_VAL,
        student=dict(stem_channels=32, base_channels=32),
        student_switches=dict(channels_last=True),
        classifier=dict(depth=18, stem_channels=32, base_channels=32),
        denoiser=dict(
            _delete_=True, sample_size=16, layers_per_block=2,
            block_out_channels=(64, 128, 128), attention_head_dim=64,
            down_block_types=('DownBlock2D', 'AttnDownBlock2D',
                              'AttnDownBlock2D'),
            up_block_types=('AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D')),
        teacher=_FAST,
        dpm=dict(iters=3000, batch=128, lr=1e-3, ema=0.002),
        distill=dict(iters=2000, batch=128, lr=2e-3),
        finetune=dict(iters=600, batch=64, lr=None),
        lrs=(5e-4, 1.5e-3, 4.5e-3), num_fixed=3,
        workers=0, amp=True),
    # 32x32 pixels and the published student; for a GPU, and not run yet. One
    # learning rate and the probe's first t, for want of a GPU's minutes
    'full': dict(
        image_size=32,
        images_per_class=5000 - NUM_VAL,
        test_per_class=1000,
        val_per_class=NUM_VAL,
        student={},
        student_switches=dict(channels_last=True),
        classifier={},
        denoiser={},
        teacher=_FAST,
        dpm=dict(iters=5000, batch=256, lr=4e-4, ema=0.001, checkpoint=250),
        distill=dict(iters=2000, batch=128, lr=2e-3),
        finetune=dict(iters=600, batch=64, lr=None),
        lrs=(1.5e-3, ), num_fixed=1,
        workers=0, amp=True),
    # to see that everything runs, in minutes
    'toy': dict(
        image_size=16,
        images_per_class=12,
        test_per_class=4,
        val_per_class=4,
        student=_TOY_RESNET,
        student_switches={},
        classifier=dict(depth=18, **_TOY_RESNET),
        denoiser=dict(
            _delete_=True, sample_size=16, layers_per_block=1,
            block_out_channels=(8, 16), norm_num_groups=4,
            attention_head_dim=8,
            down_block_types=('DownBlock2D', 'DownBlock2D'),
            up_block_types=('UpBlock2D', 'UpBlock2D')),
        teacher={},
        dpm=dict(iters=60, batch=8, lr=1e-3, ema=0.1, checkpoint=10),
        distill=dict(iters=12, batch=8, lr=1e-3),
        finetune=dict(iters=10, batch=8, lr=None),
        lrs=(1e-3, 2e-3), num_fixed=2,
        workers=0, amp=False)}
