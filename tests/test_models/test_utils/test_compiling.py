import copy

import pytest
import torch
from torch import nn

from repfusion_mm.models.utils.compiling import (
    check_accumulation,
    compile_between_taps,
    compile_options,
    has_cuda_graphs,
)

EAGER = dict(backend='eager')
GRAPHS = dict(mode='reduce-overhead')


class Block(nn.Module):

    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.back = nn.Conv2d(width, 3, 1)

    def forward(self, x):
        return self.back(self.conv(x).relu())


@pytest.fixture
def network():
    """Eleven blocks of one class, each of another width."""
    return nn.Sequential(*(Block(width) for width in range(2, 13)))


@pytest.mark.parametrize('value, wanted', [
    (False, None), (True, {}), (dict(mode='default'), dict(mode='default'))])
def test_options(value, wanted):
    assert compile_options(value, 'compile') == wanted


@pytest.mark.parametrize('value, match', [
    (1, "`compile` is 1, expected True, False, or a dict"),
    (dict(backed='eager'), "`compile` has no 'backed'; nearest: 'backend'")])
def test_wrong_options(value, match):
    with pytest.raises(ValueError, match=match):
        compile_options(value, 'compile')


def compiled(network):
    return {name for name, module in network.named_modules()
            if 'forward' in vars(module)}


@pytest.mark.parametrize('taps, wanted', [
    ([], {''}),
    (['out.0'], {''}),
    (['2'], {str(i) for i in range(11)}),
    (['2.conv'], {str(i) for i in range(11) if i != 2} | {
        '2.conv', '2.back'})])
def test_pieces(network, taps, wanted):
    image = torch.rand(2, 3, 32, 32)
    before = network(image)
    keys = list(network.state_dict())
    compile_between_taps(network, taps, EAGER)
    assert compiled(network) == wanted
    torch.testing.assert_close(network(image), before)
    assert list(network.state_dict()) == keys


def test_one_graph_a_piece(network):
    """Pieces of one class do not push each other out."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compile_between_taps(network, ['2'], dict(backend=backend))
    for _ in range(3):
        network(torch.rand(2, 3, 32, 32))
    assert len(graphs) == 11


def test_copy_has_its_own_weights(network):
    """An EMA copy runs on what was averaged."""
    image = torch.rand(2, 3, 32, 32)
    compile_between_taps(network, ['2'], EAGER)
    before = network(image)
    other = copy.deepcopy(network)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    assert not other(image).any()
    torch.testing.assert_close(network(image), before)


def test_static(network):
    """A smaller last batch is compiled beside the others, not in their place.

    Two epochs of whole batches with a last one of 3, and an evaluation.
    """
    graphs = []

    def backend(graph, inputs):
        graphs.append([one for one in inputs if isinstance(one, torch.SymInt)])
        return graph.forward

    network = network[:2]
    compile_between_taps(network, ['0'], dict(backend=backend))
    for sizes, wanted in (([8, 8, 3], 4), ([8, 8, 3], 4), ([5], 6)):
        for size in sizes:
            assert len(network(torch.rand(size, 3, 8, 8))) == size
        assert len(graphs) == wanted
    assert not any(graphs)  # no size is a variable


def test_dynamic_if_asked(network):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    network = network[:2]
    compile_between_taps(network, ['0'], dict(backend=backend, dynamic=True))
    for size in (8, 3, 5):
        network(torch.rand(size, 3, 8, 8))
    assert len(graphs) < 6  # of two pieces and three sizes


@pytest.mark.parametrize('options, wanted', [
    (None, False), ({}, False), (EAGER, False), (GRAPHS, True),
    (dict(mode='max-autotune'), True),
    (dict(mode='max-autotune-no-cudagraphs'), False),
    (dict(backend='cudagraphs'), True),
    (dict(options={'triton.cudagraphs': True}), True),
    (dict(options={'max_autotune': True}), False)])
def test_has_cuda_graphs(options, wanted):
    assert has_cuda_graphs(options) is wanted


class Wrapper:
    """What is read of MMEngine's optim wrappers."""

    def __init__(self, counts):
        self._accumulative_counts = counts


def test_accumulation():
    for options, counts in ((GRAPHS, 1), ({}, 4), (None, 4)):
        check_accumulation(options, Wrapper(counts))
    several = type('', (), dict(optim_wrappers=dict(a=Wrapper(1),
                                                    b=Wrapper(4))))
    for wrapper in (Wrapper(4), several):
        with pytest.raises(ValueError, match=(
                '`optim_wrapper.accumulative_counts` is 4, but '
                "`model.compile` is {'mode': 'reduce-overhead'}")):
            check_accumulation(GRAPHS, wrapper)
