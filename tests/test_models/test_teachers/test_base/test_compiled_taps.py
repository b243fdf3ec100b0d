import copy

import pytest
import torch
from torch import nn

MID = 'mid_block.resnets.1.conv2'
DOWN = 'down_blocks.0.resnets.0'
EAGER = dict(backend='eager')  # what dynamo sees, without a compiler behind


@pytest.fixture
def teachers(build, pipeline_folder):
    """The same teacher with and without some switches."""

    def make(taps=(MID, DOWN), **switches):
        cfg = dict(type='repfusion_mm.UNetTeacher',
                   pretrained=pipeline_folder, taps=list(taps))
        modules = build(cfg), build(dict(cfg, **switches))
        for module in modules:
            module.init_weights()
        return modules

    return make


class CountGraphs:
    """A backend of torch.compile that keeps what it is given."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        return graph.forward


def same(got, wanted, **tolerance):
    assert list(got) == list(wanted)
    for tap in wanted:
        torch.testing.assert_close(got[tap], wanted[tap], **tolerance)


@pytest.mark.parametrize('taps', [[MID, DOWN], ['mid_block'], ['out.0'],
                                  ['up_blocks.0', MID]])
def test_features(teachers, images, timesteps, taps):
    """The same operators on the same numbers: nothing may differ."""
    plain, compiled = teachers(taps, compile=EAGER)
    for _ in range(2):  # recorded, and run from the record
        same(compiled(images, timesteps), plain(images, timesteps),
             rtol=0, atol=0)
    # other images and times are not those of the record
    others, later = images.flip(0) / 2, timesteps.flip(0)
    same(compiled(others, later), plain(others, later), rtol=0, atol=0)


def test_one_graph(teachers, images, timesteps):
    count = CountGraphs()
    _, compiled = teachers(compile=dict(backend=count))
    for _ in range(3):
        compiled(images, timesteps)
    assert len(count.graphs) == 1
    # with no convolution of what lies behind the deepest tap
    network = compiled.denoiser
    wanted = [0]
    handles = [module.register_forward_hook(
        lambda *_: wanted.__setitem__(0, wanted[0] + 1))
        for module in network.modules() if isinstance(module, nn.Conv2d)]
    compiled._run(images, timesteps, None, False)
    for handle in handles:
        handle.remove()
    calls = [str(node.target) for node in count.graphs[0].graph.nodes]
    assert sum('convolution' in call for call in calls) == wanted[0]
    compiled(images[:2], timesteps[:2])  # the last batch of an epoch
    assert len(count.graphs) == 2


def test_no_graph_break(teachers, images, timesteps):
    from torch import _dynamo as dynamo
    _, compiled = teachers(compile=EAGER)
    compiled(images, timesteps)
    recorded = next(iter(compiled._compiled._records.values()))[1]
    report = dynamo.explain(recorded._orig_mod)(images / 127.5 - 1, timesteps)
    assert report.graph_count == 1
    assert report.graph_break_count == 0


@pytest.mark.parametrize('switches, tolerance', [
    (dict(channels_last=True), dict(rtol=1e-4, atol=1e-5)),
    (dict(channels_last=True, compile=EAGER), dict(rtol=1e-4, atol=1e-5)),
    (dict(dtype='bfloat16', compile=EAGER), dict(rtol=0.05, atol=0.05)),
    (dict(dtype='bfloat16', channels_last=True), dict(rtol=0.05, atol=0.05)),
], ids=str)
def test_switches(teachers, images, timesteps, switches, tolerance):
    plain, fast = teachers(**switches)
    features = fast(images, timesteps)
    same(features, plain(images, timesteps), **tolerance)
    assert {feature.dtype for feature in features.values()} == {torch.float32}
    weight = fast.denoiser.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == \
        ('channels_last' in switches)


@pytest.mark.slow
@pytest.mark.parametrize('switches', [
    dict(compile=True),
    dict(compile=dict(options=dict(freezing=True)), channels_last=True)])
def test_inductor(teachers, images, timesteps, switches):
    plain, compiled = teachers(**switches)
    same(compiled(images, timesteps), plain(images, timesteps),
         rtol=1e-4, atol=1e-5)


def test_features_are_kept(teachers, images, timesteps):
    """A CUDA graph's outputs lie where those of its next run will."""
    _, compiled = teachers(compile=EAGER)
    wanted = compiled(images, timesteps)
    records = compiled._compiled._records
    (key, (taps, record)), = records.items()
    memory = [feature.clone() for feature in wanted.values()]

    def replay(*tensors):
        for place, feature in zip(memory, record(*tensors)):
            place.copy_(feature)
        return memory

    records[key] = taps, replay
    first = compiled(images, timesteps)
    compiled(images / 2, timesteps)
    same(first, wanted, rtol=0, atol=0)


def test_autocast(teachers, images, timesteps):
    plain, compiled = teachers(compile=EAGER)
    exact = compiled(images, timesteps)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        same(compiled(images, timesteps), plain(images, timesteps))
        assert not torch.equal(compiled(images, timesteps)[MID], exact[MID])
    same(compiled(images, timesteps), exact, rtol=0, atol=0)


def test_to_and_deepcopy(teachers, images, timesteps):
    plain, compiled = teachers(compile=EAGER)
    compiled(images, timesteps)
    assert copy.deepcopy(compiled)._compiled is compiled._compiled
    compiled.double()
    with torch.no_grad():  # as if other weights had been read
        for module in (plain, compiled):
            module.denoiser.conv_in.weight.mul_(2)
    same(compiled.float()(images, timesteps), plain(images, timesteps))
    assert not compiled.state_dict()


def test_classifier(build, images):
    cfg = dict(
        type='repfusion_mm.ClassifierTeacher', image_size=16,
        taps=['backbone.layer2', 'backbone.layer1.0'],
        model=dict(type='mmpretrain.ImageClassifier',
                   backbone=dict(type='ResNet_CIFAR', depth=18,
                                 stem_channels=4, base_channels=4)))
    plain = build(cfg)
    compiled = build(dict(cfg, compile=EAGER))
    plain.init_weights()
    compiled.read = lambda: copy.deepcopy(plain.network)
    compiled.init_weights()
    same(compiled(images), plain(images), rtol=0, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype, close', [(None, 0.01), ('bfloat16', 0.1)])
def test_cuda_graphs(teachers, images, timesteps, dtype, close):
    plain, compiled = teachers(
        dtype=dtype, channels_last=True,
        compile=dict(mode='reduce-overhead'))
    wanted = plain(images, timesteps)
    compiled.cuda()
    for _ in range(4):  # warm-up, recording, replays
        got = compiled(images.cuda(), timesteps.cuda())
        compiled(images.cuda() / 2, timesteps.cuda())
    same({tap: feature.cpu() for tap, feature in got.items()}, wanted,
         rtol=close, atol=close)


@pytest.mark.parametrize('value, match', [
    ('max', '`compile` is \'max\', but'),
    (dict(mod='x'), '`teacher.compile` has no \'mod\'; nearest: \'mode\'')])
def test_wrong_switch(teachers, value, match):
    with pytest.raises(ValueError, match=match):
        teachers(compile=value)
