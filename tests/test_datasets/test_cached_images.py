import cv2
import numpy as np
import pytest
from mmengine.runner import Runner

from repfusion_mm.registry import DATASETS

TAIL = [dict(type='RandomCrop', crop_size=16, padding=2),
        dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]


@pytest.fixture
def folder(tmp_path):
    """Two classes with three images each."""
    rng = np.random.default_rng(0)
    for name in 'ab':
        (tmp_path / 'images' / name).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(tmp_path / 'images' / name / f'{i}.png'),
                        rng.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    return tmp_path / 'images'


@pytest.fixture
def config(folder):
    """The data set, cached or not."""

    def make(cached=True, tail=TAIL, **cfg):
        plain = dict(type='mmpretrain.CustomDataset', data_root=str(folder),
                     pipeline=[dict(type='LoadImageFromFile'), *tail])
        return dict(type='repfusion_mm.CachedImages', dataset=plain,
                    **cfg) if cached else plain

    return make


@pytest.fixture(autouse=True)
def scope():
    from mmengine.registry import init_default_scope
    init_default_scope('mmpretrain')


def same(one, other):
    assert np.array_equal(one['inputs'], other['inputs'])
    assert one['data_samples'].gt_label == other['data_samples'].gt_label


def test_samples(config):
    plain, cached = (DATASETS.build(config(one)) for one in (False, True))
    assert len(cached) == 6 and type(cached) is type(plain)
    assert cached.metainfo == plain.metainfo
    for _ in range(2):  # random transforms go on being random
        for index in range(6):
            np.random.seed(index)
            one = cached[index]
            np.random.seed(index)
            same(one, plain[index])


def test_reads_no_more(config, folder):
    cached = DATASETS.build(config())
    for path in folder.rglob('*.png'):
        path.unlink()
    assert cached[0]['inputs'].shape == (3, 16, 16)


def test_copies(config):
    class Blacken:
        """A transform that writes into the image it is given."""

        def __call__(self, sample):
            sample['img'][:] = 0
            return sample

    cached = DATASETS.build(config(tail=[dict(type='PackInputs')]))
    before = cached[0]['inputs'].clone()
    cached.pipeline.transforms.insert(0, Blacken())
    assert not cached[0]['inputs'].any()
    del cached.pipeline.transforms[0]
    assert np.array_equal(cached[0]['inputs'], before)


def test_more_transforms(config):
    resize = dict(type='Resize', scale=10)
    cached = DATASETS.build(config(tail=[resize, *TAIL[1:]],
                                   num_transforms=2))
    assert cached.get_data_info(0)['img'].shape == (10, 10, 3)
    assert len(cached.pipeline.transforms) == 2


def test_few_labels(config):
    dataset = DATASETS.build(dict(
        type='repfusion_mm.FewLabels', dataset=config(), labels_per_class=1,
        part='unlabelled'))
    assert len(dataset) == 4
    assert dataset[0]['data_samples'].gt_label == -1


@pytest.mark.parametrize('number, match', [
    (2, 'RandomCrop gives another image each time; it may be at most 1'),
    (0, '`num_transforms` is 0, .*at least 1'), (9, 'expected 1 to 4')])
def test_wrong_number(config, number, match):
    with pytest.raises(ValueError, match=match):
        DATASETS.build(config(num_transforms=number))


@pytest.mark.parametrize('workers', [0, 2])
def test_through_the_runner(config, repfusion, tmp_path, workers):
    """The same losses as from the files; with workers, it trains."""
    losses = []
    for cached in (False, True):
        runner = Runner(
            repfusion(reward=None,
                      time_sampler=dict(type='repfusion_mm.FixedTime')),
            str(tmp_path / f'run_{cached}'),
            train_dataloader=dict(
                batch_size=3, num_workers=workers,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=config(cached)),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            custom_hooks=[dict(type='repfusion_mm.TimeSamplerHook')],
            default_hooks=dict(checkpoint=None), randomness=dict(seed=0),
            default_scope='mmpretrain', experiment_name=f'run_{cached}')
        runner.train()
        losses.append(runner.message_hub.get_scalar('train/loss').data[0])
    assert len(losses[0]) == 4
    assert list(losses[1]) == pytest.approx(list(losses[0]))
