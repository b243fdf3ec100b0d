"""PretrainedCheckHook and the backbones that convert what they load."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import IterBasedTrainLoop

from repfusion_mm.engine.hooks import PretrainedCheckHook

VIT = dict(embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=32)
SWIN = dict(embed_dims=16, depths=[1] * 4, num_heads=[1, 2, 2, 2])
SWIN_OF_OTHERS = dict(embed_dims=16, depths=[1, 1], num_heads=[1, 2],
                      strides=(4, 2), out_indices=(0, 1))


def plain(weights):
    return weights


def without_tables(weights):  # as the original Swin's files
    return {key: value for key, value in weights.items()
            if 'relative_position_index' not in key}


def old_norm(weights):
    return {key.replace('norm3.', 'norm.'): value
            for key, value in weights.items()}


def with_classifier(weights):
    return {**weights, 'fc.weight': torch.zeros(3, 3)}


CASES = dict(
    vit_larger=('mmpretrain.VisionTransformer',
                dict(arch=VIT, img_size=64, patch_size=16),
                dict(img_size=96), plain),
    vit_without_class_token=(
        'mmpretrain.VisionTransformer',
        dict(arch=VIT, img_size=64, patch_size=16),
        dict(with_cls_token=False, out_type='featmap'), plain),
    deit3_larger=('mmpretrain.DeiT3',
                  dict(arch=VIT, img_size=64, patch_size=16),
                  dict(img_size=96), plain),
    swin_original=('mmpretrain.SwinTransformer',
                   dict(arch=SWIN, img_size=64, window_size=4), {},
                   without_tables),
    swin_of_an_old_version=('mmpretrain.SwinTransformer',
                            dict(arch=SWIN, img_size=64, window_size=4), {},
                            old_norm),
    swin2_other_window=('mmpretrain.SwinTransformerV2',
                        dict(arch=dict(SWIN, extra_norm_every_n_blocks=0),
                             img_size=64, window_size=4),
                        dict(img_size=128, window_size=8), plain),
    mmseg_swin=('mmseg.SwinTransformer',
                dict(SWIN_OF_OTHERS, pretrain_img_size=64, window_size=4), {},
                lambda weights: dict(model=weights)),
    mmseg_vit_larger=('mmseg.VisionTransformer',
                      dict(img_size=64, patch_size=16, embed_dims=32,
                           num_layers=1, num_heads=2, out_indices=0),
                      dict(img_size=96), plain),
    mmpose_swin_other_window=(
        'mmpose.SwinTransformer',
        dict(SWIN_OF_OTHERS, pretrain_img_size=64, window_size=4),
        dict(window_size=7), plain),
    mmpose_resnet=('mmpose.ResNet', dict(depth=18), {}, with_classifier))


def initialise(module):
    """What a Runner does before the first step."""
    runner = SimpleNamespace(
        model=module, _load_from=None, _resume=False,
        _train_loop=object.__new__(IterBasedTrainLoop))
    hook = PretrainedCheckHook()
    hook.before_run(runner)
    module.init_weights()
    hook.before_train(runner)


@pytest.mark.parametrize('name', CASES)
def test_what_the_loader_takes(name, tmp_path):
    cls, cfg, change, convert = CASES[name]
    library = cls.split('.')[0]
    pytest.importorskip(f'{library}.models')
    weights = MODELS.build(dict(cfg, type=cls)).state_dict()
    path = str(tmp_path / 'pretrained.pth')

    def pretrained():
        return MODELS.build({**cfg, **change, 'type': cls, 'init_cfg': dict(
            type='Pretrained', checkpoint=path)})

    torch.save(convert(weights), path)
    initialise(pretrained())
    # and less is refused
    key = next(key for key in weights if key.endswith('norm1.weight') or
               key.endswith('ln1.weight') or key == 'bn1.weight')
    del weights[key]
    torch.save(convert(weights), path)
    with pytest.raises(ValueError, match='1 keys are missing'):
        initialise(pretrained())


def test_a_loader_that_does_not_know_prefixes(tmp_path):
    pytest.importorskip('mmseg.models')
    _, cfg, _, _ = CASES['mmseg_vit_larger']
    cfg = dict(cfg, type='mmseg.VisionTransformer')
    path = str(tmp_path / 'pretrained.pth')
    torch.save({f'backbone.{key}': value for key, value
                in MODELS.build(cfg).state_dict().items()}, path)
    with pytest.raises(ValueError, match='does not fit.* does not know `prefix'
                       '`: save the weights without it'):
        initialise(MODELS.build(dict(cfg, init_cfg=dict(
            type='Pretrained', checkpoint=path, prefix='backbone.'))))
