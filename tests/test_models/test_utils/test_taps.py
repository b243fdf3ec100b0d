import copy
import pickle

import pytest
import torch
from torch import nn

from repfusion_mm.models.utils.taps import Taps, drop_weights, modules_behind


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


class Returns(nn.Module):
    """Gives what it is told to make of the input."""

    def __init__(self, make):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.make = make

    def forward(self, x):
        return self.make(self.conv(x))


class First(nn.Module):
    """Goes on with the first that it is given."""

    def forward(self, x):
        return x if torch.is_tensor(x) else x.to_tuple()[0] if hasattr(
            x, 'to_tuple') else x[0]


def returning(make):
    return nn.Sequential(Returns(make), First())


@pytest.mark.parametrize('make', [
    lambda y: (y, (4, 4)), lambda y: (y, None), lambda y: (y, ), lambda y: [y],
    lambda y: (y, (y + 1, y + 2)), lambda y: (y, [y + 1], None)])
@pytest.mark.parametrize('hidden_first', [False, True])
def test_hidden_states_of_a_tuple(x, make, hidden_first):
    net = returning(make)
    taps = Taps(net, ['0'], x, hidden_first=hidden_first)
    assert taps.shapes == {'0': (3, 4, 4)}
    for stop in (False, True):
        found = taps.forward(net, x, stop=stop)[1]['0']
        torch.testing.assert_close(found, net[0].conv(x))


def test_output_classes(x):
    from diffusers.models.unets.unet_2d import UNet2DOutput
    net = returning(lambda y: UNet2DOutput(sample=y))
    for path in ('0', 'out.0'):
        torch.testing.assert_close(
            Taps(net, [path], x).forward(net, x)[1][path], net[0].conv(x))
    whole = net[0]  # the network itself returns one
    found = Taps(whole, ['out.0'], x).forward(whole, x)[1]['out.0']
    torch.testing.assert_close(found, whole.conv(x))


@pytest.mark.parametrize('make, what', [
    (lambda y: (y, y + 1), 'tuple .2 tensors of 2 elements'),
    (lambda y: [y, y + 1], 'list .2 tensors of 2 elements'),
    (lambda y: [y, None], 'list .1 tensors of 2 elements'),
    (lambda y: ([y], y), 'tuple .1 tensors of 2 elements'),
    (lambda y: dict(x=y), 'dict and not')])
def test_what_is_not_clear_is_refused(x, make, what):
    net = nn.Sequential(Returns(make))
    with pytest.raises(ValueError, match=f"names '0', which returns {what}"):
        Taps(net, ['0'], x)


def test_hidden_states_come_first(x):
    net = nn.Sequential(Returns(lambda y: (y, y + 1)))
    found = Taps(net, ['0'], x, hidden_first=True).forward(net, x)[1]['0']
    torch.testing.assert_close(found, net[0].conv(x))
    with pytest.raises(ValueError, match='list .2 tensors'):
        net = nn.Sequential(Returns(lambda y: [y, y + 1]))
        Taps(net, ['0'], x, hidden_first=True)


class Blocks(nn.Module):
    """Lists, weights that others read, and a module in two places."""

    def __init__(self):
        super().__init__()
        self.first = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(2))
        self.second = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(2))
        self.named = nn.ModuleDict(dict(late=nn.Conv2d(3, 3, 1)))
        self.scales = nn.ModuleDict(dict(
            all=nn.ParameterList([torch.ones(3, 1, 1)] * 2)))
        self.tied = nn.Linear(3, 3)
        self.shared = nn.Conv2d(3, 3, 1)
        self.last = nn.Sequential(nn.BatchNorm2d(3), self.shared)

    def forward(self, x):
        x = x * len(self.second) * len(self.named) + self.tied.weight.mean()
        for first, second, scale in zip(self.first, self.second,
                                        self.scales['all']):
            x = self.shared(second(first(x)) * scale)
        x = self.named['late'](x)
        x = self.tied(x.transpose(1, 3)).transpose(1, 3)
        return self.last(x)


@pytest.mark.parametrize('paths, gone', [
    (['first.0'], {'first.1', 'second.0', 'second.1', 'scales.all', 'shared',
                   'named.late', 'last.0', 'last.1'}),
    (['second.0'], {'first.1', 'second.1', 'scales.all', 'shared',
                    'named.late', 'last.0', 'last.1'}),
    (['first.1', 'second.0'], {'second.1', 'named.late', 'last.0'}),
    (['named.late'], {'last.0'}),
    (['tied'], {'last.0'}),
    (['last.0'], set()),
    (['last'], set())])
def test_weights_behind_are_let_go(x, paths, gone):
    net = Blocks().eval()
    wanted = Taps(net, paths, x).forward(net, x)[1]
    taps = Taps(net, paths, x)
    whole = dict(net.state_dict())
    small = copy.deepcopy(net)
    drop_weights(small, modules_behind(net, taps, x))
    found = taps.forward(small, x, stop=True)[1]
    for path in paths:
        assert torch.equal(found[path], wanted[path])
    left = set(small.state_dict())
    assert {name.rpartition('.')[0] for name in set(whole) - left} == gone
    assert left == set(dict(small.to(torch.float64).state_dict()))
    # the modules themselves, whatever looks at them, are what they were
    assert [type(m) for m in small.modules()] == [
        type(m) for m in net.modules()]


def test_a_list_is_never_called(x):
    with pytest.raises(ValueError, match="'second', a module that Blocks "
                       "never calls; inside it are .*'second.0'"):
        Taps(Blocks(), ['second'], x)


def test_copies(x):
    net = Net().eval()
    taps = Taps(net, ['norm'], x)
    wanted = taps.forward(net, x)[1]['norm']
    for other in (copy.deepcopy(taps), pickle.loads(pickle.dumps(taps))):
        got = other.forward(copy.deepcopy(net), x)[1]['norm']
        assert torch.equal(got, wanted)
