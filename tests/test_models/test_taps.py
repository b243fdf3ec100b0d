import copy
import pickle

import pytest
import torch
from torch import nn

from repfusion_mm.models.taps import Taps, modules_behind


class Net(nn.Module):
    """A residual block with everything in place, and two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(3, 5, 1)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = self.norm(self.conv(x))
        y += x
        y = self.relu(y)
        return y, self.last(y)


class Twice(nn.Module):
    """The same module fires three times."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.last = nn.Conv2d(3, 3, 1)
        self.ran_to_the_end = False

    def forward(self, x):
        x = self.conv(self.conv(self.conv(x)))
        self.ran_to_the_end = True
        return self.last(x)


@pytest.fixture
def x():
    return torch.randn(2, 3, 4, 4)


def hooks_of(net):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks)
               for m in net.modules())


@pytest.mark.parametrize('stop', [False, True])
def test_last_call(x, stop):
    net = Twice()
    taps = Taps(net, ['conv'], x)
    net.ran_to_the_end = False
    _, features = taps.forward(net, x, stop=stop)
    wanted = net.conv(net.conv(net.conv(x)))
    torch.testing.assert_close(features['conv'], wanted)
    assert net.ran_to_the_end is not stop


def test_outputs(x):
    net = Net().eval()
    taps = Taps(net, ['out.0', 'out.1', 'out.-1', 'relu', 'last'], x)
    output, features = taps.forward(net, x, stop=True)
    assert features['out.0'] is output[0]
    assert features['out.1'] is features['out.-1'] is output[1]
    assert torch.equal(features['last'], output[1])
    assert taps.shapes['out.0'] == (3, 4, 4)
    assert taps.shapes['out.-1'] == (5, 4, 4)


def test_output_of_a_single_tensor(x):
    net = nn.Sequential(nn.Conv2d(3, 2, 1))
    output, features = Taps(net, ['out.0'], x).forward(net, x)
    assert features['out.0'] is output


def test_too_few_outputs(x):
    with pytest.raises(ValueError, match="'out.2'.*2 output"):
        Taps(Net(), ['out.2'], x)


@pytest.mark.parametrize('train', [False, True])
def test_changed_in_place(x, train):
    net = Net()
    nn.init.normal_(net.norm.weight)
    nn.init.normal_(net.norm.bias)
    taps = Taps(net.eval(), ['norm', 'relu'], x)
    net.train(train)
    net.norm.reset_running_stats()
    _, features = taps.forward(net, x)

    y = net.conv(x)
    mean, var = (y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)) \
        if train else (torch.zeros(3), torch.ones(3))
    unit = (y - mean.view(3, 1, 1)) / (var.view(3, 1, 1) + 1e-5).sqrt()
    wanted = unit * net.norm.weight.view(3, 1, 1) + \
        net.norm.bias.view(3, 1, 1)
    torch.testing.assert_close(features['norm'], wanted)
    torch.testing.assert_close(features['relu'], (wanted + x).clamp(min=0))

    features['norm'].pow(2).sum().backward()
    torch.testing.assert_close(
        net.norm.weight.grad, (2 * wanted * unit).sum((0, 2, 3)),
        rtol=1e-4, atol=1e-4)
    assert net.conv.weight.grad.abs().sum() > 0


def test_changed_in_place_only_later(x):

    class Moody(Net):

        def forward(self, x):
            y = self.conv(x)
            return y.relu_() if self.training else y

    net = Moody().eval()
    taps = Taps(net, ['conv'], x)
    with pytest.raises(RuntimeError, match=r"`taps`.*\['conv'\].*in place"):
        taps.forward(net.train(), x)


def test_unchanged_is_not_copied(x):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Identity())
    output, features = Taps(net, ['0'], x).forward(net, x)
    assert features['0'] is output


@pytest.mark.parametrize('stop', [False, True])
def test_no_hooks_stay(x, stop):
    net = Net()
    taps = Taps(net, ['conv', 'norm'], x)
    taps.forward(net, x, stop=stop)
    assert hooks_of(net) == 0
    with pytest.raises(RuntimeError):
        taps.forward(net, x[:, :2], stop=stop)
    assert hooks_of(net) == 0
    modules_behind(net, taps, x)
    assert hooks_of(net) == 0


def test_no_hooks_stay_when_refused(x):

    class Dict(nn.Module):

        def forward(self, x):
            return dict(x=x)

    net = nn.Sequential(nn.Conv2d(3, 3, 1), Dict())
    with pytest.raises(ValueError, match="'1', which returns dict"):
        Taps(net, ['0', '1'], x)
    assert hooks_of(net) == 0


def test_unknown_path(x):
    with pytest.raises(ValueError, match="`here` names 'cnov'.*'conv'"):
        Taps(Net(), ['cnov'], x, key='here')


def test_never_called(x):
    with pytest.raises(ValueError, match="'unused'.*never calls"):
        Taps(Net(), ['unused'], x)


def test_modules_behind(x):
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), nn.Conv2d(3, 3, 1))
    taps = Taps(net, ['0.0', '0.1'], x)
    assert modules_behind(net, taps, x) == ['0.2', '1', '2']
    assert modules_behind(net, Taps(net, ['out.0'], x), x) == []


def test_module_used_before_and_behind_is_kept(x):

    class Shared(Twice):

        def forward(self, x):
            return self.conv(self.last(self.conv(x)))

    net = Shared()
    assert modules_behind(net, Taps(net, ['last'], x), x) == []
    _, features = Taps(net, ['last'], x).forward(net, x, stop=True)
    assert torch.equal(features['last'], net.last(net.conv(x)))


def test_copies(x):
    net = Net().eval()
    taps = Taps(net, ['norm'], x)
    wanted = taps.forward(net, x)[1]['norm']
    for other in (copy.deepcopy(taps), pickle.loads(pickle.dumps(taps))):
        got = other.forward(copy.deepcopy(net), x)[1]['norm']
        assert torch.equal(got, wanted)
