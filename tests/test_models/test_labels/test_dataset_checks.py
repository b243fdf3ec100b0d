import numpy as np
import pytest
import torch

from repfusion_mm.models.labels.dataset_checks import (
    check_labels,
    check_num_classes,
)


class Images(list):
    """A data set of annotations."""
    metainfo = dict(classes=('cat', 'dog', 'owl'))

    def get_data_info(self, index):
        return self[index]


def labels_of(*labels):
    return Images(dict(gt_label=label, img_path=f'{i}.jpg')
                  for i, label in enumerate(labels))


@pytest.mark.parametrize('label', [2, np.int64(2), np.array(2), [2],
                                   torch.tensor([2])])
def test_one_label(label):
    check_labels(labels_of(-1, label), 3, 'R')
    with pytest.raises(ValueError, match='num_classes` is 2'):
        check_labels(labels_of(-1, label), 2, 'R')


@pytest.mark.parametrize('multi_label', [False, True])
@pytest.mark.parametrize('label', [3, -2, [12]])
def test_no_class(label, multi_label):
    with pytest.raises(ValueError) as error:
        check_labels(labels_of(-1, 0, label, 99), 3, 'R', multi_label)
    for part in (r'image 2 (2.jpg) of `train_dataloader.dataset`', str(label),
                 '`reward.num_classes` is 3', '0 to 2', '-1'):
        assert part in str(error.value)


def test_image_without_path():
    with pytest.raises(ValueError, match='image 1 of .* the label 3,'):
        check_labels(Images([dict(gt_label=0), dict(gt_label=3)]), 3, 'R')


def test_more_classes_than_the_reward_knows():
    with pytest.raises(ValueError, match='num_classes` is 2.*3 classes'):
        check_labels(labels_of(0, 1), 2, 'R')
    check_labels(labels_of(0, 1), 4, 'R')


def test_several_labels():
    with pytest.raises(ValueError, match='image 1.*multi_label=True'):
        check_labels(labels_of(0, [0, 1]), 3, 'R')
    check_labels(labels_of([-1], [0, 1], []), 3, 'R', multi_label=True)
    with pytest.raises(ValueError, match='image 1.*-1, 1'):
        check_labels(labels_of(0, [-1, 1]), 3, 'R', multi_label=True)


@pytest.mark.parametrize('info', [{}, dict(gt_label=None),
                                  dict(gt_label=-1, gt_score=[0., 1., 0.]),
                                  dict(gt_score=[-1., -1., -1.])])
def test_nothing_labelled(info):
    for multi_label in (False, True):
        with pytest.raises(ValueError, match='MyReward.*none of.*has a label'):
            check_labels(Images([info] * 2), 3, 'MyReward', multi_label)


@pytest.mark.parametrize('info', [dict(gt_label=[]),
                                  dict(gt_score=[0., 0., 0.]),
                                  dict(gt_label=[1], gt_score=[0., 1., 0.])])
def test_labelled_by_what_applies(info):
    check_labels(Images([dict(gt_label=-1), info]), 3, 'R', multi_label=True)


def test_scores_of_other_length():
    with pytest.raises(ValueError, match='image 0 .*`gt_score` of 2 elements'):
        check_labels(Images([dict(gt_score=[0., 1.])]), 3, 'R',
                     multi_label=True)


def test_data_set_that_cannot_be_looked_at():
    check_labels([1, 2, 3], 2, 'R')


def test_data_sets_inside():
    from repfusion_mm.registry import DATASETS
    digits = dict(type='repfusion_mm.Digits', split='val', pipeline=[])
    few = dict(type='repfusion_mm.FewLabels', dataset=digits,
               labels_per_class=1)
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[
        dict(few, part='unlabelled'),
        dict(type='RepeatDataset', times=2,
             dataset=dict(few, part='labelled'))]))
    check_labels(dataset, 10, 'R')
    with pytest.raises(ValueError, match='num_classes` is 9'):
        check_labels(dataset, 9, 'R')


def test_wrappers_that_know_no_annotations():
    from torch.utils.data import ConcatDataset, Subset
    images = Subset(labels_of(-1, 0, 5), [2, 1])
    for dataset in (images, ConcatDataset([labels_of(1), images])):
        with pytest.raises(ValueError, match=r'\(2.jpg\).*the label 5'):
            check_labels(dataset, 3, 'R')
    check_labels(Subset(labels_of(-1, 0, 5), [0, 1]), 3, 'R')


def test_number_of_classes():
    check_num_classes(2)
    check_num_classes(1, at_least=1)
    for number, at_least in ((1, 2), (0, 1)):
        with pytest.raises(ValueError,
                           match=f'at least {at_least}.*got {number}'):
            check_num_classes(number, at_least)
