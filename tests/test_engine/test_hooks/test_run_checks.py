from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import BatchSampler, DataLoader

from repfusion_mm.engine.hooks.run_checks import (
    check_batches,
    check_loop,
    check_mixing,
)

UNIFORM = 'configs/demo/repfusion_resnet18_uniform_digits.py'
DPM = 'configs/demo/dpm_unet_digits.py'


class Compares(nn.Module):
    least_images = 3


def checked(images, batch_size, model=None, drop_last=False, by_epoch=True,
            sampler=DefaultSampler, loader=None):
    """What is left to look at, for a data set of some images."""
    data = list(range(images))
    loop = EpochBasedTrainLoop if by_epoch else IterBasedTrainLoop
    return check_batches(SimpleNamespace(
        train_dataloader=loader or DataLoader(
            data, batch_size, sampler=sampler(data), drop_last=drop_last),
        train_loop=object.__new__(loop)),
        model or nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize('images, batch_size, drop_last, looks', [
    (9, 4, False, 1), (9, 4, True, 0), (8, 4, False, 0), (10, 4, False, 0),
    (3, 1, False, 1), (3, 1, True, 1), (1, 4, False, 1)])
def test_batches_of_one(images, batch_size, drop_last, looks, by_epoch):
    assert len(checked(images, batch_size, drop_last=drop_last,
                       by_epoch=by_epoch)) == looks


def test_sampler_without_end():
    assert not checked(9, 4, by_epoch=False, sampler=InfiniteSampler)
    assert checked(9, 1, by_epoch=False, sampler=InfiniteSampler)


def test_images_of_one_process(monkeypatch):
    # 10 images are 5 on each of 2 processes
    module = 'mmengine.dataset.sampler.get_dist_info'
    monkeypatch.setattr(module, lambda: (1, 2))
    monkeypatch.setattr('mmengine.dataset.sampler.sync_random_seed',
                        lambda: 0)
    assert checked(10, 4)
    assert not checked(12, 4)


def test_loaders_that_nobody_knows():
    data = list(range(9))
    assert not checked(9, 4, loader=DataLoader(
        data, batch_sampler=BatchSampler(DefaultSampler(data), 4, False)))
    assert not checked(9, 4, loader=[1, 2])


@pytest.mark.parametrize('images, batch_size, drop_last, remedy', [
    (10, 4, False, r'holds 2 of 10: set .*drop_last=True'),
    (2, 4, False, r'holds 2 of 2: set .*`batch_size` than 4'),
    (10, 2, True, r'holds 2 of 10: raise `train_dataloader.batch_size`')])
def test_too_few_to_compare(images, batch_size, drop_last, remedy):
    with pytest.raises(ValueError, match='Compares compares the images of a '
                       f'batch, at least 3, but the smallest.*{remedy}'):
        checked(images, batch_size, nn.Sequential(Compares()), drop_last)


def test_enough_to_compare():
    model = nn.Sequential(Compares())
    for images, batch_size, drop_last in ((11, 4, False), (10, 4, True),
                                          (12, 4, False)):
        assert not checked(images, batch_size, model, drop_last)


@pytest.mark.parametrize('images, drop_last', [(0, False), (3, True)])
def test_no_batch(images, drop_last):
    with pytest.raises(ValueError, match=f'no batch: {images} images a proces'
                       f's, `batch_size` 4, `drop_last` {drop_last}'):
        checked(images, 4, drop_last=drop_last)


def test_batch_norm_of_one_value():
    norm = nn.BatchNorm2d(2)
    handles = checked(9, 4, nn.Sequential(nn.Identity(), norm))
    norm(torch.rand(4, 2, 3, 3))
    with pytest.raises(ValueError, match="batch norm '1' sees one value .*"
                       'holds 1 of 9: set `train_dataloader.drop_last=True`'):
        norm(torch.rand(4, 2, 1, 1))
    norm.eval()(torch.rand(4, 2, 1, 1))  # a frozen one can
    norm.train()
    for handle in handles:
        handle.remove()
    norm(torch.rand(4, 2, 1, 1))


def test_synchronised_batch_norm(monkeypatch):
    # the other processes have images, too
    norm = nn.SyncBatchNorm(2)
    monkeypatch.setattr('repfusion_mm.engine.hooks.run_checks.get_world_size',
                        lambda: 2)
    checked(9, 4, nn.Sequential(norm))
    look, = norm._forward_pre_hooks.values()
    look(norm, (torch.rand(4, 2, 1, 1), ))
    monkeypatch.undo()
    with pytest.raises(ValueError, match='sees one value'):
        look(norm, (torch.rand(4, 2, 1, 1), ))


def test_every_part_that_compares_says_how_many(build):
    least = {name: build(dict(
        type=f'repfusion_mm.{name}', **(
            dict(channels=4, dataset_size=9) if 'Repr' in name else {}))
        ).least_images for name in (
            'RelationalLoss', 'InfoNCELoss', 'CKALoss',
            'ContrastiveRepresentationLoss')}
    assert least == dict(RelationalLoss=2, InfoNCELoss=2, CKALoss=3,
                         ContrastiveRepresentationLoss=2)
    for name, images in least.items():
        loss = build(dict(type=f'repfusion_mm.{name}', **(
            dict(channels=4, dataset_size=9) if 'Repr' in name else {})))
        loss(torch.rand(images, 4), torch.rand(images, 4))
        with pytest.raises(ValueError, match=f'at least {images}'):
            loss(torch.rand(images - 1, 4), torch.rand(images - 1, 4))


def test_models_that_predict():
    check_loop(nn.ReLU(), 'val')  # of others
    for stage in ('val', 'test'):
        with pytest.raises(ValueError, match='`model` is a Blind.*'
                           f'`{stage}_dataloader`, `{stage}_cfg` and '
                           f'`{stage}_evaluator` to None'):
            check_loop(type('Blind', (nn.Module, ), dict(predicts=False))(),
                       stage)


LOOP = dict(
    dataloader=dict(
        batch_size=4, num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='repfusion_mm.Digits', split='val',
                     pipeline=[dict(type='PackInputs')])),
    evaluator=dict(type='Accuracy'), cfg=dict())


def evaluating(stage):
    return {f'{stage}_{key}': value for key, value in LOOP.items()}


@pytest.mark.parametrize('config, name', [(UNIFORM, 'RepFusion'),
                                          (DPM, 'DPM')])
def test_validation(load_config, config, name):
    runner = Runner.from_cfg(load_config(config, **evaluating('val')))
    with pytest.raises(ValueError, match=f'`model` is a {name}, which '
                       'predicts nothing: set `val_dataloader`'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_evaluation_alone(load_config, stage):
    runner = Runner.from_cfg(load_config(UNIFORM, **evaluating(stage)))
    with pytest.raises(ValueError, match='`model` is a RepFusion, which '
                       f'predicts nothing: set `{stage}_dataloader`'):
        getattr(runner, stage)()


def tail_of_one(load_config, **options):
    cfg = load_config(UNIFORM, 3, **options)
    cfg.train_dataloader.sampler.type = 'DefaultSampler'
    cfg.train_dataloader.dataset = dict(
        type='repfusion_mm.Digits', split='train', indices=17,
        pipeline=[dict(type='PackInputs')])
    return Runner.from_cfg(cfg)


def test_last_batch_of_one(load_config):
    # maps of 2x2 and more: a single image can be normalised
    runner = tail_of_one(load_config)
    runner.train()
    assert runner.iter == 3
    assert not any(module._forward_pre_hooks for module
                   in runner.model.modules() if isinstance(
                       module, nn.BatchNorm2d))

    runner = tail_of_one(load_config, **{'model.backbone': dict(
        _delete_=True, type='ResNet', depth=18, stem_channels=4,
        base_channels=4)})
    with pytest.raises(ValueError, match="batch norm 'backbone.layer.*"
                       'drop_last=True'):
        runner.train()
    assert runner.iter == 0


def test_channels_of_a_batch(load_config):
    # told on the host, before the preprocessor stumbles over them
    runner = Runner.from_cfg(load_config(UNIFORM))
    runner.model.in_channels = 4
    with pytest.raises(ValueError, match='images have 3 channels and the '
                       'student takes 4.*LoadImageFromFile'):
        runner.train()
    assert runner.iter == 0


class PackDetInputs:

    def __init__(self, *meta_keys):
        self.meta_keys = meta_keys


def mosaic(keys, *parts):
    """As mmdet's MultiImageMixDataset looks, around parts of FewLabels."""
    inside = [SimpleNamespace(part=part) for part in parts]
    return SimpleNamespace(
        pipeline=[object(), PackDetInputs('img_path', *keys)],
        dataset=inside[0] if len(inside) == 1 else
        SimpleNamespace(datasets=inside))


def test_mosaics_of_one_part():
    check_mixing([0, 1])
    check_mixing(SimpleNamespace(datasets=[
        mosaic([], 'labelled'), mosaic(['unlabelled'], 'unlabelled')]))


@pytest.mark.parametrize('keys, parts, message', [
    ([], ['unlabelled'], 'without `unlabelled` among'),
    (['unlabelled'], ['labelled', 'unlabelled'], 'one image of labelled')])
def test_mosaics_that_nobody_can_tell(keys, parts, message):
    with pytest.raises(ValueError, match=message):
        check_mixing(SimpleNamespace(datasets=[mosaic(keys, *parts)]))
