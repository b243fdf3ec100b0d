"""Trainings on folders in which some images are bad."""
import json
import multiprocessing
import os
import re

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

SEEN: list = []


class Looks(BaseModel):
    """Notes the image and the pixels that each step is given."""

    def __init__(self):
        super().__init__(dict(type='mmpretrain.ClsDataPreprocessor'))
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs, data_samples=None, mode='loss'):
        SEEN.append([
            (os.path.basename(sample.img_path), int(sample.gt_label),
             round(float(image.sum()), 1))
            for image, sample in zip(inputs, data_samples)])
        return dict(loss=self.weight * inputs.mean())


@pytest.fixture(autouse=True)
def model():
    MODELS.register_module('Looks', True, Looks)
    SEEN.clear()
    init_default_scope('mmpretrain')
    yield
    del MODELS.module_dict['Looks']


@pytest.fixture
def folder(tmp_path):
    """Two classes of 8 images each, 3 more that are bad, and a text."""
    rng = np.random.default_rng(0)
    for name in 'ab':
        path = tmp_path / 'train' / name
        path.mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(
                path / f'{name}{i}.png')
    (tmp_path / 'train/a/empty.jpg').write_bytes(b'')
    (tmp_path / 'train/a/text.jpg').write_text('<html>')
    whole = (tmp_path / 'train/b/b0.png').read_bytes()
    (tmp_path / 'train/b/cut.png').write_bytes(whole[:500])
    return tmp_path / 'train'


def loader(folder, bad_images='skip', workers=0, **kwargs):
    return dict(
        batch_size=4, num_workers=workers,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(
            type='CustomDataset', data_root=str(folder), pipeline=[
                dict(type='repfusion_mm.LoadCheckedImage',
                     bad_images=bad_images),
                dict(type='RandomCrop', crop_size=16),
                dict(type='RandomFlip', prob=.5),
                dict(type='PackInputs')], **kwargs))


@pytest.fixture
def train(tmp_path):

    def run(train_dataloader, iters=10, name='run', resume=False, val=None,
            hooks=('ExactResumeHook', 'SkippedImagesHook')):
        runner = Runner.from_cfg(Config(dict(
            model=dict(type='mmengine.Looks'), work_dir=str(tmp_path / name),
            train_dataloader=train_dataloader,
            train_cfg=dict(by_epoch=False, max_iters=iters,
                           val_begin=1000),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
            default_scope='mmpretrain', resume=resume,
            default_hooks=dict(checkpoint=dict(
                type='CheckpointHook', by_epoch=False, interval=5)),
            custom_hooks=[dict(type=f'repfusion_mm.{one}') for one in hooks],
            randomness=dict(seed=1), experiment_name=f'{name}{len(SEEN)}',
            **(val or {}))))
        runner.train()
        return runner

    return run


def listed(tmp_path, name='run'):
    path = tmp_path / name / 'skipped_images.jsonl'
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize('workers', [0, 2])
def test_listed_at_the_end(folder, train, tmp_path, workers, capfd):
    train(loader(folder, workers=workers))
    for name, label, _ in sum(SEEN, []):
        assert label == 'ab'.index(name[0]) and name[1:] in [
            f'{i}.png' for i in range(8)]
    assert {os.path.basename(one['path']): one['kind'] for one
            in listed(tmp_path)} == {'empty.jpg': 'empty',
                                     'text.jpg': 'no image',
                                     'cut.png': 'truncated'}
    said = ''.join(capfd.readouterr())
    assert len(re.findall('It is skipped. So are others', said)) in (
        (1, ) if workers == 0 else (1, 2))  # both workers at the same time
    assert re.search('3 images were skipped: 1 empty, 1 no image, 1 '
                     "truncated.*/empty.jpg' is empty;.*They are listed in "
                     '.*run/skipped_images.jsonl', said)


def test_the_same_images_when_resumed(folder, train, tmp_path):
    """In the place of a bad image is always the same one, as it is cropped,
    however many workers there are and wherever the training stopped."""
    train(loader(folder), name='whole')
    whole = list(SEEN)
    SEEN.clear()
    train(loader(folder, workers=2), iters=5, name='parts')
    train(loader(folder), iters=10, name='parts', resume=True)
    assert whole == SEEN and len(whole) == 10
    names = [{os.path.basename(one['path']) for one in listed(tmp_path, name)}
             for name in ('whole', 'parts')]
    assert names[0] == names[1] == {'empty.jpg', 'text.jpg', 'cut.png'}


def test_list_begins_anew(folder, train, tmp_path):
    train(loader(folder))
    for name in ('a/empty.jpg', 'a/text.jpg', 'b/cut.png'):
        (folder / name).unlink()
    train(loader(folder))
    assert not (tmp_path / 'run/skipped_images.jsonl').exists()


def test_decoded_before(folder, train, tmp_path):
    """CachedImages finds bad images before the list is there."""
    cfg = loader(folder)
    cfg['dataset'] = dict(type='repfusion_mm.CachedImages',
                          dataset=cfg['dataset'])
    train(cfg)
    assert len(listed(tmp_path)) == 3


@pytest.mark.slow
def test_of_two_processes(folder, train, tmp_path):
    """Each sees other images; the first one lists those of both."""

    def one(rank):
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{tmp_path}/meet', rank=rank,
            world_size=2)
        train(loader(folder), iters=3)  # all images are drawn once
        own = {name for name, _, _ in sum(SEEN, [])}
        (tmp_path / f'seen{rank}').write_text(json.dumps(sorted(own)))

    fork = multiprocessing.get_context('fork')
    processes = [fork.Process(target=one, args=(rank, )) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert {os.path.basename(one['path']) for one in listed(tmp_path)} == {
        'empty.jpg', 'text.jpg', 'cut.png'}
    assert not list((tmp_path / 'run').glob('skipped_images.jsonl.*'))
    assert (tmp_path / 'seen0').read_text() != (tmp_path / 'seen1').read_text()


def test_passed_over(folder, train, capfd):
    (folder / 'a/one.webp').write_bytes(b'')
    (folder / 'a/README').write_bytes(b'')
    (folder / 'of_no_class.png').write_bytes(b'')
    train(loader(folder), iters=1)
    assert '3 files in the folders of `train_dataloader` are not read, by ' \
        'their extension:' in ''.join(capfd.readouterr())


def test_raise_is_before_the_first_step(folder, train):
    with pytest.raises(ValueError, match="`train_dataloader`: '.*' is .* It "
                       "would end the training, since `bad_images` is 'rai"):
        train(loader(folder, 'raise'))
    assert not SEEN


def test_most_are_bad(folder, train):
    for path in list(folder.rglob('*.png'))[:10]:
        path.write_bytes(b'')
    with pytest.raises(ValueError, match='of 19 images of `train_dataloader` '
                       'that were looked at, 1[0-9] are bad: 1.* empty'):
        train(loader(folder))
    assert not SEEN


@pytest.mark.parametrize('workers', [0, 2])
def test_empty(folder, train, workers):
    """An error, and not an endless search for the first image."""
    cfg = loader(folder, workers=workers)
    cfg['dataset'] = dict(type='repfusion_mm.FewLabels', labels_per_class=0,
                          part='labelled', dataset=cfg['dataset'])
    with pytest.raises(ValueError, match="dataset` is empty: it is the `part` "
                       "'labelled' of a FewLabels whose `labels_per_class` is "
                       '0 and `num_labelled` None'):
        train(cfg)
    with pytest.raises(ValueError, match='sampler is InfiniteSampler is emp'):
        next(iter(InfiniteSampler([])))  # which older MMEngines ask first


@pytest.mark.parametrize('root, error', [
    ('nowhere', FileNotFoundError), ('nothing', RuntimeError)])
def test_no_folder(folder, train, tmp_path, root, error):
    (tmp_path / 'nothing').mkdir()
    with pytest.raises(error, match=root):
        train(loader(tmp_path / root))


def validation(folder, bad_images='raise', workers=0):
    val = loader(folder, bad_images, workers)
    val['sampler'] = dict(type='DefaultSampler', shuffle=False)
    val['dataset']['pipeline'][1:3] = []
    return dict(val_dataloader=val, val_cfg=dict(),
                val_evaluator=dict(type='Accuracy'))


@pytest.mark.parametrize('workers', [0, 2])
def test_validation_is_read_before(folder, train, workers):
    with pytest.raises(ValueError) as error:
        train(loader(folder), val=validation(folder, workers=workers))
    assert re.search('3 images of `val_dataloader` are bad: 1 empty, 1 no '
                     "image, 1 truncated.*/empty.jpg' is empty;.*cut.png",
                     str(error.value))
    assert not SEEN


def test_validation_of_nothing(folder, train):
    val = validation(folder)
    val['val_dataloader']['dataset'] = dict(
        type='repfusion_mm.FewLabels', labels_per_class=0, part='labelled',
        dataset=val['val_dataloader']['dataset'])
    with pytest.raises(ValueError, match='`val_dataloader.dataset` is empty'):
        train(loader(folder), val=val)


def test_validation_skips_none(folder, train):
    with pytest.raises(ValueError, match="`val_dataloader` has `bad_images='"
                                         "skip'` in its pipeline: a score"):
        train(loader(folder), val=validation(folder, 'skip'))


def test_the_same_without_bad_images(folder, train, tmp_path):
    """The hook and the check change no random number."""
    for name in ('a/empty.jpg', 'a/text.jpg', 'b/cut.png'):
        (folder / name).unlink()
    train(loader(folder), iters=3, val=validation(folder))
    seen = list(SEEN)
    SEEN.clear()
    stock = loader(folder)
    stock['dataset']['pipeline'][0] = dict(type='LoadImageFromFile')
    train(stock, iters=3, name='stock', hooks=('ExactResumeHook', ))
    assert seen == SEEN


def test_our_configs_have_it(root):
    for name in ('distill/repfusion_resnet18_64px_folder',
                 'distill/repfusion-sd15_resnet50_256px_folder',
                 'dpm/unet_64px_folder', 'mmpretrain/resnet18_64px_folder'):
        cfg = Config.fromfile(root / f'configs/{name}.py')
        assert 'skipped_images' in cfg.default_hooks
        assert "bad_images='skip'" in str(cfg.train_dataloader) or \
            "'bad_images': 'skip'" in str(cfg.train_dataloader)
        assert 'LoadImageFromFile' not in cfg.pretty_text
