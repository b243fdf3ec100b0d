import pytest
import torch
from mmpretrain.structures import DataSample

from benchmarks.studies.rank_of_features import (
    choices,
    compared,
    read_of_others,
)
from benchmarks.studies.reward_bias import draw, each_t
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
    one, other = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    own = draw(labels, 4, one)
    assert labels[own].bincount().tolist() == [4, 4, 4]
    assert len(set(own.tolist())) == 12
    assert not torch.equal(own, draw(labels, 4, other))


def test_choices(seen):
    features, samples = seen
    features[1] = features[1, :, :1]  # of rank 1
    found = choices(features, each_t(features, samples)[1])
    assert found['labels'] == 2 and found['both'] == 2
    features[[0, 2, 3], :, 1:] = 0.  # now all but one have
    features[1] = torch.randn(90, 6)
    assert choices(features, each_t(features, samples)[1])['rank'] == 1


def test_read_of_others(seen):
    features, samples = seen
    own = torch.arange(30)
    labels = torch.cat([sample.gt_label for sample in samples])
    read = read_of_others(features, labels, own,
                          *each_t(features[:, own], samples[:30]))
    assert read[2] > 0.9
    assert read[0] < 0.6


class Bar:
    def track(self, things, description):
        return things


def test_compared(seen):
    row = compared(*seen, 5, 3, Bar())
    assert row['best_t'] == MIDDLES[2] and len(row['read']) == 4
    assert row['best'] == max(row['read'])
    labels = row['rules']['labels']
    assert labels['accuracy'] <= row['best'] and len(labels['t']) == 3
