import pytest
import torch
from mmpretrain.structures import DataSample

from benchmarks.studies.rank_of_features import (
    choices,
    compared,
    draw,
    read_of_others,
)
from benchmarks.studies.study import MIDDLES


@pytest.fixture
def seen():
    """Features that tell the class at the third of four time steps alone."""
    torch.manual_seed(0)
    labels = torch.arange(90) % 3
    features = torch.randn(4, 90, 6)
    features[2, :, :3] += 4 * torch.nn.functional.one_hot(labels, 3)
    return features, [DataSample().set_gt_label(int(one)) for one in labels]


def test_draw():
    labels = torch.arange(90) % 3
    own = draw(labels, 4, 1)
    assert labels[own].bincount().tolist() == [4, 4, 4]
    assert len(set(own.tolist())) == 12
    assert not torch.equal(own, draw(labels, 4, 2))


def test_choices(seen):
    features, samples = seen
    features[1] = features[1, :, :1]  # of rank 1
    found = choices(features, samples)
    assert found['labels'] == 2 and found['both'] == 2
    features[[0, 2, 3], :, 1:] = 0.  # now all but one have
    features[1] = torch.randn(90, 6)
    assert choices(features, samples)['rank'] == 1


def test_read_of_others(seen):
    features, samples = seen
    own = torch.arange(30)
    assert read_of_others(features[2], samples, own) > 0.9
    assert read_of_others(features[0], samples, own) < 0.6


class Bar:
    def track(self, things, description):
        return things


def test_compared(seen):
    row = compared(*seen, 5, 3, Bar())
    assert row['best_t'] == MIDDLES[2] and len(row['read']) == 4
    assert row['best'] == max(row['read'])
    labels = row['rules']['labels']
    assert labels['accuracy'] <= row['best'] and len(labels['t']) == 3
