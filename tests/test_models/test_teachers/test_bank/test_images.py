import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS
from torch.utils.data import Subset

from repfusion_mm.models.teachers.bank.images import BankImages

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
PACK = dict(type='mmpretrain.PackInputs')
LOAD = dict(type='mmpretrain.LoadImageFromFile')


class InMemory(BaseDataset):
    """Some images, with the label 0."""

    def __init__(self, chosen=range(6), channels=3, **kwargs):
        self.chosen, self.channels = list(chosen), channels
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(img=PIXELS[i, ..., :self.channels], gt_label=0)
                for i in self.chosen]


@pytest.fixture(autouse=True)
def in_memory():
    DATASETS.register_module('InMemory', True, InMemory)
    yield
    del DATASETS.module_dict['InMemory']


def memory(pipeline=(PACK, ), **kwargs):
    return dict(type='mmengine.InMemory', pipeline=list(pipeline), **kwargs)


@pytest.fixture
def files(tmp_path):
    """Images of two sizes in a folder; returns the data set's config."""

    def write(folder='images', names='abc'):
        (tmp_path / folder).mkdir(exist_ok=True)
        for i, name in enumerate(names):
            pixels = PIXELS[i] if i else PIXELS[i].repeat(2, 1)
            cv2.imwrite(str(tmp_path / folder / f'{name}.png'), pixels)
        return dict(type='mmpretrain.CustomDataset',
                    data_prefix=str(tmp_path / folder), with_label=False,
                    pipeline=[LOAD, PACK])

    return write



def test_images_in_memory():
    images = BankImages(memory(), 'rgb')
    assert len(images) == 6
    for row in (0, 5):
        wanted = torch.from_numpy(PIXELS[row]).permute(2, 0, 1).float()
        assert torch.equal(images.load(row), wanted)
    flipped = BankImages(memory(), 'bgr')
    assert torch.equal(flipped.load(5), wanted.flip(0))
    grey = BankImages(memory(channels=1), 'rgb')
    assert torch.equal(grey.load(5), wanted[:1].expand(3, -1, -1))


def test_images_in_files(files):
    images = BankImages(files(), 'bgr')  # as OpenCV reads them
    assert images.load(0).shape == (3, 8, 16)
    wanted = torch.from_numpy(PIXELS[2][..., ::-1].copy()).permute(2, 0, 1)
    assert torch.equal(images.load(2), wanted.float())


@pytest.mark.parametrize('kind', ['memory', 'files'])
def test_known_again(files, kind):
    # whatever the training's data set is wrapped in, and does to the image
    cfg = memory() if kind == 'memory' else files()
    crop = dict(type='mmpretrain.RandomCrop', crop_size=8, padding=2)
    train = dict(cfg, pipeline=[*cfg['pipeline'][:-1], crop, PACK])
    wrapped = DATASETS.build(dict(type='ConcatDataset', datasets=[
        dict(type='RepeatDataset', times=2, dataset=train),
        dict(type='repfusion_mm.FewLabels', dataset=train,
             labels_per_class=0, part='unlabelled')]))
    images = BankImages(cfg, 'rgb')
    rows = [images.row(wrapped[i]['data_samples'])
            for i in range(len(wrapped))]
    assert rows == 3 * list(range(len(images)))
    images.check(wrapped)


def test_part_of_a_data_set():
    # known by its number in the whole, and not in the part
    cfg = dict(type='repfusion_mm.FewLabels', labels_per_class=2,
               part='labelled', dataset=memory())
    part = DATASETS.build(cfg)
    images = BankImages(cfg, 'rgb')
    assert len(images) == len(part) == 2
    assert [images.row(part[i]['data_samples']) for i in range(2)] == [0, 1]
    images.check(part)
    with pytest.raises(ValueError, match='is not in `teacher.dataset`'):
        images.check(DATASETS.build(memory()))


def test_other_images_are_refused(files):
    images = BankImages(memory(), 'rgb')
    other = DATASETS.build(memory(chosen=[0, 1, 2, 3, 5, 4]))
    with pytest.raises(ValueError, match='image 4 of `train_dataloader.datas'
                       'et` has other pixels .* `sample_idx`, 4, in'):
        images.check(other)
    with pytest.raises(ValueError, match='image 6, which is not in'):
        images.check(DATASETS.build(memory(chosen=[0, 1, 2, 3, 4, 5, 5])))
    images = BankImages(files(), 'rgb')
    cfg = files('images', ['a', 'bb'])
    with pytest.raises(ValueError, match="bb.png', which is not in `teacher.d"
                       "ataset`.*; nearest: '.*/b.png'"):
        images.check(DATASETS.build(cfg))
    with pytest.raises(ValueError, match='which is not in'):
        images.row(DATASETS.build(cfg)[2]['data_samples'])
    images.check(object())  # nothing to look at


def test_broken_image(files, tmp_path):
    cfg = files()
    cfg['pipeline'][0] = dict(LOAD, ignore_empty=True)
    (tmp_path / 'images/b.png').write_bytes(b'')
    images = BankImages(cfg, 'rgb')
    images.load(0)
    for _ in range(3):  # never another image in its place
        with pytest.raises(ValueError, match="images/b.png' of `teacher.datase"
                           't` cannot be read.*in its place'):
            images.load(1)
    cv2.imwrite(str(tmp_path / 'images/b.png'), PIXELS[1])
    assert BankImages(cfg, 'rgb').digest == images.digest
    assert images.load(1).shape == (3, 8, 8)


def test_wrappers_that_know_no_annotations():
    images = BankImages(memory(), 'rgb')
    whole = DATASETS.build(memory())
    images.check(Subset(whole, [4, 0]))
    with pytest.raises(ValueError, match='image 2 of .* other pixels'):
        images.check(Subset(DATASETS.build(
            memory(chosen=[0, 1, 2, 3, 5, 4])), [0, 1, 4]))


def test_cached_images_are_the_same_ones(files):
    cfg = files()
    images = BankImages(cfg, 'rgb')
    cached = DATASETS.build(dict(type='repfusion_mm.CachedImages',
                                 dataset=cfg))
    images.check(cached)
    assert images.row(cached[1]['data_samples']) == 1


def test_digest(files):
    digest = BankImages(memory(), 'rgb').digest
    assert digest == BankImages(memory(), 'rgb').digest
    others = [memory(chosen=range(5)), memory(chosen=[0, 1, 2, 3, 5, 4]),
              memory(channels=1),
              memory([dict(type='mmpretrain.Resize', scale=4), PACK])]
    digests = {BankImages(cfg, 'rgb').digest for cfg in others}
    digests |= {digest, BankImages(memory(), 'bgr').digest}
    assert len(digests) == 6
    # files by their names, wherever the folder is
    first = BankImages(files(), 'rgb').digest
    assert first == BankImages(files('moved'), 'rgb').digest
    assert first != BankImages(files('more', 'abd'), 'rgb').digest


@pytest.mark.parametrize('name, options', [
    ('mmpretrain.RandomCrop', dict(crop_size=4)),
    ('mmcv.RandomFlip', dict(prob=0.5))])
@pytest.mark.parametrize('wrapped', [True, False])
def test_random_pipeline(name, options, wrapped):
    cfg = memory([dict(type=name, **options), PACK])
    if wrapped:
        cfg = dict(type='ConcatDataset', datasets=[cfg])
    with pytest.raises(ValueError, match=f'{name}.* leave out what is random'):
        BankImages(cfg, 'rgb')


def test_channel_order():
    with pytest.raises(ValueError, match="`teacher.channel_order` is 'gbr'"):
        BankImages(memory(), 'gbr')


def test_nameless_sample():
    with pytest.raises(ValueError, match='`sample_idx`; name it among the '
                       '`meta_keys`'):
        BankImages(memory(), 'rgb').row(dict(flip=True))


def test_copies_share_the_images():
    images = BankImages(memory(), 'rgb')
    assert copy.deepcopy([images])[0] is images


def test_what_the_pipeline_gives():
    # as torchvision's ToTensor, or with a channel too many
    class Scaled(InMemory):

        def load_data_list(self):
            return [dict(img=(one['img'] / 255).astype(np.float32))
                    for one in super().load_data_list()]

    DATASETS.register_module('Scaled', True, Scaled)
    cfg = dict(memory(), type='mmengine.Scaled')
    wanted = torch.from_numpy(PIXELS[5]).permute(2, 0, 1).float()
    with pytest.raises(ValueError, match=r'`teacher.raw_image=dict\(range'):
        BankImages(cfg, 'rgb').load(5)
    images = BankImages(cfg, 'rgb', dict(range=(0, 1)))
    assert (images.load(5) - wanted).abs().max() < 1e-3
    assert images.digest != BankImages(cfg, 'rgb').digest
    two = BankImages(memory(channels=2), 'rgb')
    with pytest.raises(ValueError, match='2 channels.*`teacher.raw_image='):
        two.load(0)
    del DATASETS.module_dict['Scaled']


def test_a_pipeline_that_packs_nothing(files):
    cfg = files()
    cfg['pipeline'] = cfg['pipeline'][:1]
    with pytest.raises(ValueError, match='of `teacher.dataset` have no `inputs'
                       "`: its `pipeline` must end .*type='PackInputs'"):
        BankImages(cfg, 'rgb').load(0)
