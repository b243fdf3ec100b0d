"""FewLabels and CachedImages inside and around the libraries' wrappers."""
import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, TRANSFORMS
from torch.utils.data import ConcatDataset, Subset

from repfusion_mm.models.utils.dataset_wrappers import inside, source

COUNT, BROKEN = 12, 5


class Tiny(BaseDataset):
    """Images that hold their own number; labels 0, 1, 0, 1, ..."""
    METAINFO = dict(classes=('a', 'b'))

    def __init__(self, count=COUNT, labels=None, broken=(), **kwargs):
        self.count, self.labels, self.broken = count, labels, broken
        super().__init__(**kwargs)

    def load_data_list(self):
        labels = self.labels or [i % 2 for i in range(self.count)]
        return [dict(img_path=f'{"broken" if i in self.broken else i}',
                     gt_label=label) for i, label in enumerate(labels)]

    def get_cat_ids(self, idx):
        return [self.get_data_info(idx)['gt_label']]


class Read:
    """Reads an image, unless it is broken; counts how often."""
    count = 0

    def __call__(self, results):
        type(self).count += 1
        if results['img_path'] == 'broken':
            return None
        results['img'] = np.full((2, 2), int(results['img_path']))
        results['gt_seg_map'] = results['img'].astype(np.uint8)
        return results


class Spy:
    """Notes the masks that a random transform gets to see."""
    seen = []

    def __call__(self, results):
        self.seen.append(results['gt_seg_map'].copy())
        return results


TYPES = {DATASETS: [Tiny], TRANSFORMS: [Read, Spy]}


@pytest.fixture(autouse=True)
def registered():
    for registry, classes in TYPES.items():
        for cls in classes:
            registry.register_module(module=cls)
    Spy.seen.clear()
    Read.count = 0
    yield
    for registry, classes in TYPES.items():
        for cls in classes:
            del registry.module_dict[cls.__name__]


def tiny(**kwargs):
    # not serialised: MMEngine collects garbage each time, which takes long
    return dict(type='mmengine.Tiny', pipeline=[dict(type='Read')],
                **dict(dict(serialize_data=False), **kwargs))


def few(dataset, part='labelled', **how):
    return dict(type='repfusion_mm.FewLabels', dataset=dataset, part=part,
                **(how or dict(labels_per_class=2)))


def wrapped(name, dataset, **kwargs):
    return dict(type=name, dataset=dataset, **kwargs)


def concat(*datasets):
    return dict(type='ConcatDataset', datasets=list(datasets))


def kfold(dataset):
    pytest.importorskip('mmpretrain.datasets')
    return wrapped('mmpretrain.KFoldDataset', dataset, fold=0, num_splits=3,
                   seed=1)


def build(cfg):
    return DATASETS.build(cfg)


def numbers(dataset):
    return [int(dataset[i]['img'][0, 0]) for i in range(len(dataset))]


def labels(dataset):
    return [dataset[i]['gt_label'] for i in range(len(dataset))]


# --- which image is meant ---------------------------------------------------


def every_wrapper():
    leaf = build(tiny())
    balanced = build(wrapped('ClassBalancedDataset',
                             tiny(labels=[0, 0, 0, 1]), oversample_thr=0.9))
    yield Subset(leaf, [7, 2, 2])
    yield Subset(leaf, list(range(COUNT))[::-1])
    yield ConcatDataset([leaf, Subset(leaf, [3])])
    yield build(concat(tiny(count=3), wrapped(
        'RepeatDataset', tiny(count=2), times=3)))
    yield balanced
    yield build(few(tiny()))
    yield build(few(tiny(), 'unlabelled'))
    yield build(few(few(tiny(), num_labelled=7), num_labelled=3))
    yield build(kfold(tiny()))
    yield build(kfold(few(tiny(), 'unlabelled')))


def test_the_same_image_inside():
    for dataset in every_wrapper():
        for index in range(len(dataset)):
            inner, number = source(dataset, index)
            assert isinstance(inner, BaseDataset)
            while inside(inner, number) is not None:
                inner, number = inside(inner, number)
            assert type(inner) is Tiny
            assert inner[number]['img_path'] == dataset[index]['img_path']


def test_what_is_not_known():

    class Shuffled:  # who knows in which order

        def __init__(self):
            self.dataset = build(tiny())

        def __len__(self):
            return 3

    one = Shuffled()
    assert inside(one, 0) is None
    assert source(one, 0) == (one, 0)
    assert inside(build(tiny()), 0) is None


# --- FewLabels --------------------------------------------------------------


def test_the_draw():
    """One call of the generator for each class, in order of the classes."""
    rng = np.random.default_rng(4)
    wanted = sorted([*rng.choice(range(0, COUNT, 2), 2, replace=False),
                     *rng.choice(range(1, COUNT, 2), 2, replace=False)])
    assert numbers(build(few(tiny(), labels_per_class=2, seed=4))) == wanted
    wanted = sorted(np.random.default_rng(4).choice(COUNT, 5, replace=False))
    assert numbers(build(few(tiny(), num_labelled=5, seed=4))) == wanted


def test_several_classes():
    given = [[0], [0, 2], [], [1, 2]] * 3
    one = build(few(tiny(labels=given), labels_per_class=2))
    two = build(few(tiny(labels=given), 'unlabelled', labels_per_class=2))
    assert sorted(numbers(one) + numbers(two)) == list(range(COUNT))
    found = labels(one)
    for label in range(3):
        assert sum(label in each for each in found) >= 2
    # an image counts for each of its classes, so that three more are too many
    assert 3 <= len(one) <= 6
    assert [] not in found and set(labels(two)) == {-1}
    # of none of the classes is a label, too
    assert [] in labels(build(few(tiny(labels=given), num_labelled=COUNT)))
    with pytest.raises(ValueError, match='`labels_per_class` is 4, but class '
                       '1 has only 3 images'):
        build(few(tiny(labels=given), labels_per_class=4))


def test_scores_in_place_of_labels():
    from repfusion_mm.datasets.hidden_labels import classes_of
    assert classes_of(dict(gt_score=[0., 1., 0.5])) == [1, 2]
    assert classes_of(dict(gt_label=torch.tensor([2]))) == [2]
    assert classes_of(dict(gt_label=-1)) == []
    assert classes_of(dict(seg_map_path='a.png')) is None


@pytest.mark.parametrize('part', ['labelled', 'unlabelled'])
def test_broken_image(part):
    mine = numbers(build(few(tiny(), part, num_labelled=7)))
    cfg = few(tiny(broken=[mine[1]]), part, num_labelled=7)
    for _ in range(5):  # another of this part, never of the other
        found = numbers(build(cfg))
        assert found[0] == mine[0] and found[2:] == mine[2:]
        assert found[1] in set(mine) - {mine[1]}
    cfg['dataset']['test_mode'] = True
    with pytest.raises(Exception, match='Test time pip'):
        numbers(build(cfg))


def test_all_broken():
    cfg = few(tiny(broken=range(COUNT), max_refetch=3), num_labelled=2)
    with pytest.raises(Exception, match='Cannot find valid image after 3'):
        build(cfg)[0]


@pytest.mark.parametrize('inner', [
    concat(tiny(), tiny(labels=[1] * COUNT)),
    wrapped('RepeatDataset', tiny(), times=3),
    wrapped('ClassBalancedDataset', tiny(labels=[0] * 9 + [1] * 3),
            oversample_thr=0.6),
    few(tiny(), num_labelled=10)], ids=lambda cfg: cfg['type'])
def test_around(inner):
    one, two = (build(few(inner, part)) for part in ('labelled', 'unlabelled'))
    assert len(one) + len(two) == len(build(inner))
    assert -1 not in labels(one) and set(labels(two)) == {-1}
    assert one.metainfo['classes'] == ('a', 'b')


def test_copies_of_an_image():
    cfg = wrapped('RepeatDataset', tiny(), times=3)
    one, two = (build(few(cfg, part)) for part in ('labelled', 'unlabelled'))
    assert numbers(one) == 3 * numbers(build(few(tiny())))
    assert set(numbers(one)).isdisjoint(numbers(two))


def test_around_a_part():
    inner = few(tiny(), 'unlabelled')
    assert set(labels(build(few(inner, num_labelled=3)))) == {-1}
    hidden = build(few(few(tiny(), num_labelled=6), 'unlabelled',
                       num_labelled=2))
    assert len(hidden) == 4 and set(labels(hidden)) == {-1}


@pytest.mark.parametrize('part', ['labelled', 'unlabelled'])
def test_inside(part):
    cfg = few(tiny(), part)
    plain = numbers(build(cfg))
    assert numbers(build(wrapped('RepeatDataset', cfg, times=2))) == 2 * plain
    assert numbers(build(concat(cfg, cfg))) == 2 * plain
    balanced = build(wrapped('ClassBalancedDataset', cfg, oversample_thr=1.))
    assert set(numbers(balanced)) == set(plain)
    fold = build(kfold(cfg))
    assert set(numbers(fold)) < set(plain)
    assert len(fold) == len(plain) - len(plain) // 3
    assert (set(fold.get_gt_labels()) == {-1}) == (part == 'unlabelled')
    built = build(cfg)  # and as a data set that is there
    for again in (concat(built), wrapped('RepeatDataset', built, times=1)):
        assert numbers(build(again)) == plain


def test_rare_classes():
    given = [0] * 9 + [1] * 3
    hidden = build(few(tiny(labels=given), 'unlabelled'))
    assert hidden.get_cat_ids(0) == []  # no label is told
    shown = build(few(tiny(labels=given)))
    assert [shown.get_cat_ids(i) for i in range(4)] == [[0], [0], [1], [1]]
    assert hidden.get_gt_labels().tolist() == [-1] * 8


def test_subset():
    whole = build(few(tiny(), 'unlabelled'))
    expected = numbers(whole)
    for indices in (3, -2, [4, 0, 4], 0):
        subset = whole.get_subset(indices)
        rows = indices if isinstance(indices, list) else \
            list(range(8))[slice(indices) if indices >= 0
                           else slice(indices, None)]
        assert numbers(subset) == [expected[row] for row in rows]
    assert numbers(whole) == expected
    whole.get_subset_([1])
    assert numbers(whole) == expected[1:2]


@pytest.mark.parametrize('ignore_index', [255, 0, -1, 300])
@pytest.mark.parametrize('cached', [False, True])
def test_mask_is_hidden_at_once(ignore_index, cached):
    inner = dict(tiny(), pipeline=[dict(type='Read'), dict(type='Spy')])
    if cached:
        inner = dict(type='repfusion_mm.CachedImages', dataset=inner)
    dataset = build(few(inner, 'unlabelled', num_labelled=4,
                        ignore_index=ignore_index))
    masks = [dataset[i]['gt_seg_map'] for i in range(len(dataset))]
    assert len(Spy.seen) == len(masks) == 8
    assert np.unique([*masks, *Spy.seen]).tolist() == [ignore_index]
    # images are as they were, and so are labelled masks
    assert 0 < len(set(numbers(dataset))) == 8
    shown = build(few(inner, num_labelled=4))
    assert [shown[i]['gt_seg_map'][0, 0] for i in range(4)] == numbers(shown)


def test_pipeline_that_is_changed():
    # as hooks do that leave out augmentation in the last epochs
    dataset = build(few(tiny(), 'unlabelled'))
    pipeline = copy.copy(dataset.pipeline)
    pipeline.transforms = [Read(), Spy()]
    dataset.pipeline = pipeline
    dataset[0]
    assert Spy.seen[0].tolist() == [[255] * 2] * 2
    assert not hasattr(build(few(concat(tiny()))), 'pipeline')


def test_pickled():  # as workers that are spawned need it
    for part in ('labelled', 'unlabelled'):
        dataset = build(few(concat(tiny(), tiny()), part))
        assert numbers(pickle.loads(pickle.dumps(dataset))) == numbers(dataset)
    cached = build(dict(type='repfusion_mm.CachedImages',
                        dataset=tiny(broken=[1])))
    assert len(pickle.loads(pickle.dumps(cached))) == COUNT


def test_mixtures_are_refused():
    pytest.importorskip('mmseg.datasets')
    mixed = dict(type='mmseg.MultiImageMixDataset', dataset=tiny(),
                 pipeline=[])
    for inner in (mixed, concat(mixed)):
        with pytest.raises(ValueError, match='MultiImageMixDataset, which make'
                           's one sample of several.*around its `dataset`'):
            build(few(inner))
    with pytest.raises(ValueError, match='holds a list, whose annotations'):
        build(few(Subset([1, 2], [0])))


def test_boxes_are_hidden():
    from repfusion_mm.datasets.hidden_labels import hide_labels
    box = dict(bbox=[0, 0, 1, 1])
    assert hide_labels(dict(instances=[box], segments_info=[box]), 255) == \
        dict(instances=[], segments_info=[], unlabelled=True)


# --- CachedImages -----------------------------------------------------------


def cached(dataset, **kwargs):
    return build(dict(type='repfusion_mm.CachedImages', dataset=dataset,
                      **kwargs))


def test_broken_images_once():
    dataset = cached(tiny(broken=[BROKEN]))
    assert len(dataset) == COUNT and Read.count == COUNT
    for _ in range(3):
        found = numbers(dataset)
        assert found[:BROKEN] == list(range(BROKEN))
        assert found[BROKEN + 1:] == list(range(BROKEN + 1, COUNT))
    assert Read.count == COUNT
    assert dataset.get_data_info(BROKEN)['gt_label'] == BROKEN % 2


@pytest.mark.parametrize('inner', [
    concat(tiny(), tiny(count=3)),
    wrapped('RepeatDataset', tiny(), times=2),
    wrapped('ClassBalancedDataset', tiny(), oversample_thr=1.),
    few(tiny()), few(tiny(), 'unlabelled'),
    concat(few(tiny(), 'unlabelled'),
           wrapped('RepeatDataset', few(tiny()), times=5)),
    tiny(serialize_data=True)],
    ids=['concat', 'repeat', 'balanced', 'few', 'hidden', 'mixture', 'bytes'])
def test_cached_around(inner):
    plain, kept = build(inner), cached(inner)
    read = Read.count
    assert numbers(kept) == numbers(plain)
    assert labels(kept) == labels(plain)
    assert Read.count == read + 2 * len(plain)  # the plain one's
    # only what can be drawn is kept
    assert read == len({(id(source(kept, i)[0]), kept[i]['img_path'])
                        for i in range(len(kept))})


def test_cached_in_a_fold():
    inner = dict(type='repfusion_mm.CachedImages', dataset=tiny())
    assert numbers(build(kfold(inner))) == numbers(build(kfold(tiny())))


def test_cached_samples_are_copies():
    for serialize in (True, False):
        dataset = cached(dict(tiny(), serialize_data=serialize))
        dataset[3]['img'][:] = 99
        assert numbers(dataset) == list(range(COUNT))


def test_few_of_cached():
    inner = dict(type='repfusion_mm.CachedImages', dataset=tiny(broken=[3]))
    for part in ('labelled', 'unlabelled'):
        dataset = build(few(inner, part))
        plain = build(few(tiny(), part))
        wanted = set(numbers(plain)) - {3}
        assert set(numbers(dataset)) == wanted


def test_not_to_be_cached():
    pack = dict(type='mmpretrain.PackInputs', input_key='img')
    cfg = dict(tiny(), pipeline=[dict(type='Read'), pack])
    with pytest.raises(ValueError, match='PackInputs packs the image with its '
                       'label; it may be at most 1'):
        cached(cfg, num_transforms=2)

    class Other(Tiny):

        def __len__(self):
            return 3

    DATASETS.register_module(module=Other)
    try:
        with pytest.raises(ValueError, match='a Other, which keeps no annota'):
            cached(dict(tiny(), type='mmengine.Other'))
    finally:
        del DATASETS.module_dict['Other']
