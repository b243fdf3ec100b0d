import collections

import pytest

from repfusion_mm.registry import DATASETS

DIGITS = dict(type='repfusion_mm.Digits', split='train',
              pipeline=[dict(type='mmpretrain.PackInputs')])


def few(labels_per_class, part, **cfg):
    return dict(type='repfusion_mm.FewLabels', dataset=DIGITS,
                labels_per_class=labels_per_class, part=part, **cfg)


def build(*args, **cfg):
    return DATASETS.build(few(*args, **cfg))


def indices(dataset):
    """Which images of the data set underneath a part holds."""
    return [dataset.get_data_info(i)['sample_idx']
            for i in range(len(dataset))]


def labels(dataset):
    return [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]


@pytest.mark.parametrize('number', [0, 1, 7, None])
def test_partition(number):
    one, two = build(number, 'labelled'), build(number, 'unlabelled')
    both = indices(one) + indices(two)
    assert sorted(both) == list(range(1097))
    wanted = 1097 if number is None else 10 * number
    assert (len(one), len(two)) == (wanted, 1097 - wanted)


def test_labels():
    one, two = build(3, 'labelled'), build(3, 'unlabelled')
    assert collections.Counter(labels(one)) == dict.fromkeys(range(10), 3)
    assert set(labels(two)) == {-1}
    # the labels are the right ones, and are not lost underneath
    truth = DATASETS.build(DIGITS)
    for index, label in zip(indices(one), labels(one)):
        assert truth.get_data_info(index)['gt_label'] == label
    hidden = [two.dataset.get_data_info(i)['gt_label'] for i in indices(two)]
    assert set(hidden) == set(range(10))


def test_seed():
    first = indices(build(2, 'labelled', seed=4))
    assert first == indices(build(2, 'labelled', seed=4))
    assert first != indices(build(2, 'labelled', seed=5))
    assert set(first).isdisjoint(indices(build(2, 'unlabelled', seed=4)))


def test_not_the_first_ones():
    # drawn, not cut off in the order of the data set
    assert max(indices(build(2, 'labelled'))) > 200


def test_items():
    item = build(2, 'unlabelled')[5]
    assert item['inputs'].shape == (3, 16, 16)
    assert item['data_samples'].gt_label.tolist() == [-1]
    assert build(2, 'labelled')[5]['data_samples'].gt_label.item() >= 0


def test_built_dataset_and_meta():
    inner = DATASETS.build(DIGITS)
    dataset = DATASETS.build(dict(few(2, 'labelled'), dataset=inner))
    assert dataset.dataset is inner
    assert dataset.metainfo['classes'] == tuple('0123456789')


def test_lazy():
    dataset = DATASETS.build(dict(
        few(2, 'labelled'), dataset=dict(DIGITS, lazy_init=True)))
    assert len(dataset) == 20
    assert sorted(indices(dataset)) == sorted(indices(build(2, 'labelled')))


def test_lazy_item():
    dataset = DATASETS.build(dict(
        few(2, 'labelled'), dataset=dict(DIGITS, lazy_init=True)))
    assert dataset[0]['data_samples'].gt_label.item() >= 0


def test_concatenated_and_repeated():
    dataset = DATASETS.build(dict(
        type='ConcatDataset',
        datasets=[few(2, 'unlabelled'),
                  dict(type='RepeatDataset', times=3,
                       dataset=few(2, 'labelled'))]))
    assert len(dataset) == 1077 + 60
    assert dataset.metainfo['classes'] == tuple('0123456789')
    found = [dataset[i]['data_samples'].gt_label.item()
             for i in range(len(dataset))]
    counts = collections.Counter(found)
    assert counts == {-1: 1077, **dict.fromkeys(range(10), 6)}


def test_too_few_images():
    with pytest.raises(ValueError, match='`labels_per_class` is 109, but '
                       r'class \d+ has only 10\d images'):
        build(109, 'labelled')


@pytest.mark.parametrize('args, match', [
    ((2, 'both'), "`part` is 'both'"),
    ((-1, 'labelled'), '`labels_per_class` is -1, .*at least 0')])
def test_wrong_arguments(args, match):
    with pytest.raises(ValueError, match=match):
        build(*args)
