"""A frozen network is shared by copies of the model, and moved by none."""
import copy

import pytest
import torch
from torch import nn

from repfusion_mm.models.teachers.base.frozen import Frozen

EAGER = dict(backend='eager')


class Network(nn.Module):
    """With weights used twice, and buffers in and out of the state dict."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.again = nn.Conv2d(3, 4, 3)
        self.again.weight = self.conv.weight
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer('scale', torch.rand(4), persistent=False)

    def forward(self, x):
        x = self.norm(self.conv(x) + self.again(x))
        return x * self.scale.view(-1, 1, 1)


@pytest.fixture
def frozen():
    return Frozen(Network())


MOVES = dict(device=lambda m: m.to('meta'), dtype=lambda m: m.double(),
             layout=lambda m: m.to(memory_format=torch.channels_last),
             empty=lambda m: m.to_empty(device='meta'))
STAYS = dict(device=lambda m: m.cpu(), dtype=lambda m: m.float(),
             both=lambda m: m.to('cpu', torch.float32))


def look(module):
    return {name: (value.device, value.dtype, value.stride())
            for name, value in [*module.named_parameters(),
                                *module.named_buffers()]}


class Holder(nn.Module):
    """What a teacher does with it."""

    def __init__(self, frozen):
        super().__init__()
        self.frozen = frozen

    def _apply(self, fn, recurse=True):
        self.frozen = self.frozen.moved(fn)
        return self


@pytest.mark.parametrize('move', MOVES.values(), ids=MOVES)
def test_moved(frozen, move):
    before = look(frozen.module)
    values = copy.deepcopy(frozen.module.state_dict())
    wanted = look(move(Network().eval()))
    wanted.pop('again.weight', None)  # torch unties it, on the meta device
    holder = move(Holder(frozen))
    module = holder.frozen.module
    assert look(module) == wanted != before
    assert module.again.weight is module.conv.weight
    assert isinstance(module.conv.weight, nn.Parameter)
    assert list(module.state_dict()) == list(values)
    assert not any(m.training for m in module.modules())
    assert not any(p.requires_grad for p in module.parameters())
    # whoever else holds the first one still has it
    assert look(frozen.module) == before
    for name, value in frozen.module.state_dict().items():
        assert torch.equal(value, values[name])


def test_moved_values(frozen):
    x = torch.rand(2, 3, 8, 8)
    other = Holder(frozen).double().frozen.module
    torch.testing.assert_close(other(x.double()).float(), frozen.module(x))


@pytest.mark.parametrize('stay', STAYS.values(), ids=STAYS)
def test_not_moved(frozen, stay):
    assert stay(Holder(frozen)).frozen is frozen


@pytest.fixture(params=[False, EAGER], ids=['eager', 'compiled'])
def teacher(request, build, pipeline_folder):

    def make():
        module = build(dict(type='repfusion_mm.UNetTeacher',
                            pretrained=pipeline_folder,
                            compile=request.param))
        return nn.ModuleList([module])

    return make


def test_teachers(teacher, images, timesteps):
    """An EMA copy shares; a copy elsewhere takes nothing away."""
    model = teacher()
    model[0].init_weights()
    wanted = model[0](images, timesteps)['mid_block']
    same = copy.deepcopy(model).to('cpu')
    assert same[0].denoiser is model[0].denoiser
    for move in (MOVES['device'], MOVES['dtype']):
        network = model[0].denoiser
        other = move(copy.deepcopy(model))
        assert model[0].denoiser is same[0].denoiser is network
        assert look(other[0].denoiser) != look(network)
        for one in (model, same):
            assert torch.equal(one[0](images, timesteps)['mid_block'], wanted)
    # nor does the original's move, from its copies
    assert look(model.to('meta')[0].denoiser) != look(network)
    assert same[0].denoiser is network
    assert torch.equal(same[0](images, timesteps)['mid_block'], wanted)


def test_records(teacher, images, timesteps):
    """What is compiled goes with the network that it is of."""
    model = teacher()
    early = copy.deepcopy(model)  # before there is a network
    for one in (model, early):
        one[0].init_weights()
    wanted = model[0](images, timesteps)['mid_block']
    with torch.no_grad():
        early[0].denoiser.conv_in.weight.mul_(2)
    assert not torch.allclose(early[0](images, timesteps)['mid_block'],
                              wanted)
    compiled = model[0]._compiled
    copy.deepcopy(model).double()
    assert model.float()[0]._compiled is compiled
    if compiled is not None:
        assert len(compiled._records) == 1
        assert not copy.deepcopy(model).double()[0]._compiled._records
        assert copy.deepcopy(model)[0]._compiled is compiled
