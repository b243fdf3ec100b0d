import pytest
import torch
from mmpretrain.structures import DataSample

from repfusion_mm.models.labels import class_labels, labelled_mask


def test_labels(samples):
    batch = samples([3, -1, 0, torch.tensor([7])])
    labels = class_labels(batch)
    assert labels.dtype == torch.long
    assert labels.tolist() == [3, -1, 0, 7]
    mask = labelled_mask(batch)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [True, False, True, True]


def test_without_label(samples):
    with pytest.raises(ValueError, match='gt_label.*FewLabels'):
        class_labels(samples([1]) + [DataSample()])


def test_several_labels(samples):
    with pytest.raises(ValueError, match='one `gt_label`'):
        class_labels(samples([1, [2, 3]]))
