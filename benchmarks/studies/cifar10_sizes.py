"""How large the study on CIFAR-10 is: images, networks, budgets."""

NUM_VAL = 200  # validation images of each class

_SMALL_RESNET = dict(stem_channels=16, base_channels=16)
_TOY_RESNET = dict(stem_channels=4, base_channels=4)
SIZES = dict(
    # what two CPU cores can do in two hours: 16x16 pixels, a denoiser of
    # 2.7 M parameters, a ResNet-18 with a quarter of the channels
    smoke=dict(
        image_size=16,
        images_per_class=2000,
        test_per_class=400,
        val_per_class=NUM_VAL,
        fixed_t=[30, 100, 300],
        tap='mid_block.resnets.1',  # a linear probe reads more of it
        student=_SMALL_RESNET,
        classifier=dict(depth=18, **_SMALL_RESNET),
        denoiser=dict(
            _delete_=True, sample_size=16, layers_per_block=1,
            block_out_channels=(32, 64, 128), norm_num_groups=8,
            attention_head_dim=16,
            down_block_types=('DownBlock2D', 'DownBlock2D',
                              'AttnDownBlock2D'),
            up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D')),
        teacher={},
        dpm=dict(iters=3000, batch=64, lr=1e-3, ema=0.002),
        distill=dict(iters=400, batch=64, lr=2e-3),
        finetune=dict(iters=300, batch=64, lr=2e-3),
        num_bins=20, workers=0, amp=False),
    # the published architectures, in bfloat16; meant for one GPU of the H100
    # class by an estimate of its arithmetic (README.md), and not run yet
    full=dict(
        image_size=32,
        images_per_class=5000 - NUM_VAL,
        test_per_class=1000,
        val_per_class=NUM_VAL,
        fixed_t=[30, 100, 300],
        tap='mid_block.resnets.1.conv2',  # as published
        student={},
        classifier={},
        denoiser={},
        teacher=dict(dtype='bfloat16', channels_last=True),
        dpm=dict(iters=5000, batch=256, lr=4e-4, ema=0.001, checkpoint=250),
        distill=dict(iters=400, batch=256, lr=2e-3),
        finetune=dict(iters=400, batch=256, lr=2e-3),
        num_bins=20, workers=12, amp=True),
    # to see that everything runs, in a minute
    toy=dict(
        image_size=16,
        images_per_class=8,
        test_per_class=4,
        val_per_class=4,
        fixed_t=[30, 100],
        tap='mid_block.resnets.1',
        student=_TOY_RESNET,
        classifier=dict(depth=18, **_TOY_RESNET),
        denoiser=dict(
            _delete_=True, sample_size=16, layers_per_block=1,
            block_out_channels=(8, 16), norm_num_groups=4,
            attention_head_dim=8,
            down_block_types=('DownBlock2D', 'DownBlock2D'),
            up_block_types=('UpBlock2D', 'UpBlock2D')),
        teacher={},
        dpm=dict(iters=60, batch=8, lr=1e-3, ema=0.1, checkpoint=10),
        distill=dict(iters=50, batch=8, lr=1e-3),
        finetune=dict(iters=10, batch=8, lr=1e-3),
        num_bins=10, workers=0, amp=True))
