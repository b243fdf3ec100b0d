# WFLW, with a distribution over x and one over y for each landmark.
_base_ = './wflw_bs64.py'

codec = dict(
    _delete_=True,
    type='SimCCLabel',
    input_size=(256, 256),
    sigma=(5.66, 5.66),
    simcc_split_ratio=2.0,
    normalize=False,
    use_dark=False)
train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale'),
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='RandomBBoxTransform', shift_prob=0, rotate_factor=60,
             scale_factor=(0.75, 1.25)),
        dict(type='TopdownAffine', input_size=(256, 256)),
        dict(type='PhotometricDistortion'),
        dict(
            type='GenerateTarget',
            encoder=dict(
                type='SimCCLabel',
                input_size=(256, 256),
                sigma=(5.66, 5.66),
                simcc_split_ratio=2.0,
                normalize=False,
                use_dark=False)),
        dict(type='PackPoseInputs'),
    ]))
