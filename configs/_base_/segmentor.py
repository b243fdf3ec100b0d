# A segmentor; what it is made of is named by each model.
model = dict(
    type='EncoderDecoder',
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))

val_cfg = dict()
test_cfg = dict()
custom_hooks = [dict(type='repfusion_mm.PretrainedCheckHook')]
