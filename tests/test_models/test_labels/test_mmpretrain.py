import pytest
import torch
from mmpretrain.models import MultiLabelClsHead
from mmpretrain.structures import DataSample

from repfusion_mm.models.labels import (
    class_labels,
    labelled_mask,
    multi_hot_labels,
)


def scored(score):
    return DataSample().set_gt_score(score)


def test_labels(samples):
    batch = samples([3, -1, 0, torch.tensor([7])])
    labels = class_labels(batch)
    assert labels.dtype == torch.long
    assert labels.tolist() == [3, -1, 0, 7]
    mask = labelled_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, False, True, True]


def test_without_label(samples):
    batch = samples([1]) + [DataSample()]
    for read in (class_labels, labelled_mask,
                 lambda batch: multi_hot_labels(batch, 3)):
        with pytest.raises(ValueError, match='gt_label.*FewLabels'):
            read(batch)


def test_several_labels(samples):
    with pytest.raises(ValueError, match='one `gt_label`'):
        class_labels(samples([1, [2, 3]]))


@pytest.mark.parametrize('label', [4, 9, -2])
def test_no_class(samples, label):
    batch = samples([3, label, -1])
    assert class_labels(batch).tolist() == [3, label, -1]
    for read in (class_labels, multi_hot_labels):
        assert len(read(samples([3, -1, 0]), 4))
        with pytest.raises(ValueError, match=f'{label}.*0 to 3.*-1'):
            read(batch, 4)


def test_multi_hot(samples):
    hot, mask = multi_hot_labels(
        samples([[0, 2], -1, [], [3], [1, 1], [3, 2, 1, 0]]), 4)
    assert hot.dtype == torch.float32 and mask.dtype == torch.bool
    assert hot.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0],
                            [0, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]]
    assert mask.tolist() == [True, False, True, True, True, True]


def test_multi_hot_when_no_class_applies(samples):
    hot, mask = multi_hot_labels(samples([[], []]), 3)
    assert hot.tolist() == [[0] * 3] * 2
    assert mask.all()


@pytest.mark.parametrize('batch', [
    [DataSample().set_gt_label([0, 2]), DataSample().set_gt_label([])],
    [scored([0.25, 1., 0.]), scored([0., 0., 1.])],
    [scored([0.25, 1., 0.]).set_gt_label([1]),
     scored([0., 0., 0.]).set_gt_label([])],
])
def test_same_targets_as_mmpretrain(batch):
    targets = []

    class Loss(torch.nn.Module):

        def forward(self, scores, target, **kwargs):
            targets.append(target)
            return scores.sum()

    MultiLabelClsHead(loss=Loss()).loss((torch.zeros(2, 3), ), batch)
    hot, mask = multi_hot_labels(batch, 3)
    torch.testing.assert_close(hot, targets[0])
    assert mask.all()


def test_scores_of_unlabelled():
    # what a label of -1 hides is not given away by the scores beside it
    batch = [scored([0., 1.]), scored([1., 1.]).set_gt_label(-1),
             scored([-1., -1.]), scored([1., 0.]).set_gt_label(0),
             DataSample().set_gt_label([1])]
    hot, mask = multi_hot_labels(batch, 2)
    assert mask.tolist() == [True, False, False, True, True]
    assert hot.tolist() == [[0, 1], [0, 0], [0, 0], [1, 0], [0, 1]]
    assert labelled_mask(batch).tolist() == mask.tolist()


def test_scores_of_other_length():
    with pytest.raises(ValueError, match='2 elements.*num_classes` is 3'):
        multi_hot_labels([scored([0., 1.])], 3)
