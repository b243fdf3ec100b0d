import copy

import pytest
import torch
from torch import nn

from repfusion_mm.models.teachers.bank.key import (
    places,
    settings,
    weights_hash,
)


def hash_of(network):
    return weights_hash(network.state_dict().items())


@pytest.fixture(params=[torch.float32, torch.bfloat16])
def network(request):
    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8),
                         nn.Conv2d(8, 2, 1)).to(request.param)


def test_memory_format_is_not_the_weights(network):
    """Of 3x3 and of 1x1 kernels."""
    other = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert hash_of(other) == hash_of(network)


@pytest.mark.parametrize('name', ['0.weight', '1.num_batches_tracked',
                                  '2.bias'])
def test_other_weights(network, name):
    other = copy.deepcopy(network)
    other.state_dict()[name].add_(1)
    assert hash_of(other) != hash_of(network)


def test_choice_among_weights(tmp_path):
    """Tells where the weights are, and nothing else about the teacher."""
    cfg = dict(type='repfusion_mm.UNetTeacher', pretrained=str(tmp_path))
    other = dict(cfg, variant='fp16')
    assert settings(other) == settings(cfg)
    assert places(other) != places(cfg)
    assert places(dict(cfg, variant=None)) == places(cfg)
