import copy
import importlib.util

import pytest
import torch

SMALL = dict(image_size=16, num_channels=32, num_res_blocks=1,
             channel_mult=(1, 2), attention_resolutions=(8, ),
             num_head_channels=16)
RELEASED = dict(resblock_updown=True, use_scale_shift_norm=True,
                learn_sigma=True)
# what the presets combine, small; and guided-diffusion's other branches
LIKE = {
    '64x64': dict(SMALL, **RELEASED, num_res_blocks=3, class_cond=True,
                  use_new_attention_order=True, noise_schedule='cosine'),
    '128x128': dict(SMALL, **RELEASED, num_res_blocks=2, class_cond=True,
                    channel_mult=(1, 1, 2, 3), attention_resolutions=(8, 4, 2),
                    num_head_channels=-1, num_heads=4),
    '256x256': dict(SMALL, **RELEASED, num_res_blocks=2, class_cond=True),
    '256x256_uncond': dict(SMALL, **RELEASED, num_res_blocks=2),
    '512x512': dict(SMALL, **RELEASED, num_channels=64, num_res_blocks=2,
                    channel_mult=(0.5, 1, 1, 2), class_cond=True,
                    attention_resolutions=(8, 4, 2)),
    'defaults': dict(SMALL, use_scale_shift_norm=False, num_head_channels=-1),
    'finest': dict(SMALL, channel_mult=(1, 1, 2), use_scale_shift_norm=False,
                   attention_resolutions=(16, 4), resblock_updown=True),
    'convs': dict(SMALL, use_new_attention_order=True, class_cond=True,
                  channel_mult=(2, 1), learn_sigma=True),
}
TOLD = dict(fixed=207)


@pytest.fixture(scope='module')
def reference(root):
    spec = importlib.util.spec_from_file_location(
        'guided_unet', root / 'tests/test_models/test_teachers/guided_unet.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GuidedUNet


@pytest.fixture
def teacher(build):
    """Builds a teacher, with its weights."""

    def make(load=True, **cfg):
        cfg.setdefault('checkpoint', 'no/such.pt')
        module = build(dict(type='repfusion_mm.GuidedDiffusionTeacher', **cfg))
        if load:
            module.init_weights()
        return module

    return make


@pytest.fixture
def saved(reference, tmp_path):
    """The reference with random weights, and its checkpoint."""

    def make(**flags):
        network = reference(**flags).randomise()
        path = str(tmp_path / 'network.pt')
        torch.save(network.state_dict(), path)
        return network, path

    return make


def condition(flags, **cfg):
    return dict(class_condition=cfg or TOLD) if flags.get('class_cond') \
        else {}


def taps_of(flags):
    """Some taps, and guided-diffusion's names for them."""
    levels, blocks = len(flags['channel_mult']), flags['num_res_blocks']
    bottom = (blocks + 1) * (levels - 1) + 1  # input block
    top = levels * (blocks + 1) - 1  # output block
    taps = {
        'conv_in': 'input_blocks.0',
        'down_blocks.0.resnets.0': 'input_blocks.1.0',
        'down_blocks.0.downsamplers.0': f'input_blocks.{blocks + 1}',
        f'down_blocks.{levels - 1}.resnets.0': f'input_blocks.{bottom}.0',
        f'down_blocks.{levels - 1}.attentions.0': f'input_blocks.{bottom}.1',
        'mid_block.resnets.0': 'middle_block.0',
        'mid_block.attentions.0': 'middle_block.1',
        'mid_block.resnets.1.conv2': 'middle_block.2.out_layers.3',
        'mid_block': 'middle_block',
        'up_blocks.0.attentions.0': 'output_blocks.0.1',
        'up_blocks.0': f'output_blocks.{blocks}',
        f'up_blocks.{levels - 1}': f'output_blocks.{top}',
        'conv_out': 'out',
    }
    if flags['resblock_updown'] is False:
        del taps['down_blocks.0.downsamplers.0']  # `.conv` inside
    return taps


def features_of(network, names, *args):
    found = {}
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: found.update(
                {name: output})) for name in names]
    network(*args)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize('like', LIKE)
def test_features(teacher, saved, images, timesteps, like):
    flags = {'resblock_updown': False, **LIKE[like]}
    network, path = saved(**flags)
    taps = taps_of(flags)
    module = teacher(checkpoint=path, taps=list(taps), **flags,
                     **condition(flags))
    for dtype, close in ((torch.float32, 1e-5), (torch.float64, 1e-6)):
        network.to(dtype)
        module.to(dtype)
        images = images.to(dtype)
        told = network.label_emb.weight[207] if flags.get('class_cond') \
            else 0.
        wanted = features_of(network, taps.values(), images / 127.5 - 1,
                             timesteps, told)
        got = module(images, timesteps)
        for tap, name in taps.items():
            assert module.feature_shapes[tap] == wanted[name].shape[1:]
            error = (got[tap] - wanted[name]).norm() / wanted[name].norm()
            assert error < close, tap


@pytest.mark.parametrize('like', ['64x64', '256x256_uncond', '128x128'])
def test_attention_order_matters(teacher, saved, images, timesteps, like):
    flags = LIKE[like]
    _, path = saved(**flags)
    wrong = not flags.get('use_new_attention_order', False)
    right, other = (
        teacher(checkpoint=path, **dict(flags, **change), **condition(flags))(
            images, timesteps)['mid_block']
        for change in ({}, dict(use_new_attention_order=wrong)))
    assert (right - other).norm() > 0.02 * right.norm()


def test_number_of_heads_matters(teacher, saved, images, timesteps):
    flags = LIKE['128x128']
    _, path = saved(**flags)
    four, two = (
        teacher(checkpoint=path, **dict(flags, num_heads=heads),
                **condition(flags))(images, timesteps)['mid_block']
        for heads in (4, 2))
    assert (four - two).norm() > 0.02 * four.norm()


PRESETS = {  # flags as released, and millions of weights
    '64x64': (dict(image_size=64, num_channels=192, num_res_blocks=3,
                   channel_mult=(1, 2, 3, 4), class_cond=True), 295.9),
    '128x128': (dict(image_size=128, num_channels=256, num_res_blocks=2,
                     channel_mult=(1, 1, 2, 3, 4), class_cond=True), 421.5),
    '256x256': (dict(image_size=256, num_channels=256, num_res_blocks=2,
                     channel_mult=(1, 1, 2, 2, 4, 4), class_cond=True),
                553.8),
    '256x256_uncond': (dict(image_size=256, num_channels=256,
                            num_res_blocks=2,
                            channel_mult=(1, 1, 2, 2, 4, 4)), 552.8),
    '512x512': (dict(image_size=512, num_channels=256, num_res_blocks=2,
                     channel_mult=(0.5, 1, 1, 2, 2, 4, 4), class_cond=True),
                558.9),
}


@pytest.mark.parametrize('preset', PRESETS)
def test_presets(teacher, reference, preset):
    flags, millions = PRESETS[preset]
    module = teacher(load=False, preset=preset, **condition(flags),
                     taps=['mid_block', 'conv_out'])
    with torch.device('meta'):
        network = reference(**flags, **RELEASED,
                            attention_resolutions=(32, 16, 8))
        ours = module.source.build()
    counts = [sum(p.numel() for p in one.parameters())
              for one in (network, ours)]
    assert counts[0] == counts[1]
    assert abs(counts[0] / 1e6 - millions) < 0.3
    size = flags['image_size']
    deepest = size // 2**(len(flags['channel_mult']) - 1)
    assert module.feature_shapes == {
        'mid_block': (4 * flags['num_channels'], deepest, deepest),
        'conv_out': (6, size, size)}
    heads = {attention.to_q.in_features: attention.heads
             for attention in ours.modules() if hasattr(attention, 'to_q')}
    assert heads == {width: 4 if preset == '128x128' else width // 64
                     for width in heads}
    assert module.source.flags['use_new_attention_order'] == \
        (preset == '64x64')
    assert module.image_size == (size, size)
    assert module.num_timesteps == 1000


@pytest.mark.parametrize('preset, cosine', [('64x64', True),
                                            ('256x256_uncond', False)])
def test_noise_schedule(teacher, preset, cosine):
    flags, _ = PRESETS[preset]
    scheduler = teacher(load=False, preset=preset,
                        **condition(flags)).source.scheduler
    if cosine:
        level = torch.arange(1001, dtype=torch.float64) / 1000
        level = torch.cos((level + 0.008) / 1.008 * torch.pi / 2)**2
        betas = (1 - level[1:] / level[:-1]).clamp(max=0.999)
    else:
        betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    torch.testing.assert_close(
        scheduler.alphas_cumprod.double(), torch.cumprod(1 - betas, 0),
        rtol=1e-3, atol=1e-5)


def test_add_noise(teacher, saved, images):
    flags = LIKE['256x256_uncond']
    network, path = saved(**flags)
    module = teacher(checkpoint=path, add_noise=True, **flags)
    t = torch.tensor([0, 10, 400, 999])
    torch.manual_seed(3)
    noise = torch.randn(4, 3, 16, 16)
    torch.manual_seed(3)
    got = module(images, t)['mid_block']
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)[t]
    kept = kept.view(4, 1, 1, 1)
    noisy = kept.sqrt() * (images / 127.5 - 1) + (1 - kept).sqrt() * noise
    wanted = features_of(network, ['middle_block'], noisy, t)['middle_block']
    assert (got - wanted).norm() < 1e-4 * wanted.norm()


@pytest.mark.parametrize('how', ['half', 'legacy format'])
def test_other_files(teacher, saved, images, timesteps, how):
    flags = LIKE['256x256_uncond']
    network, path = saved(**flags)
    if how == 'half':
        network.half()
        torch.save(network.state_dict(), path)
        network.float()
    else:
        torch.save(network.state_dict(), path,
                   _use_new_zipfile_serialization=False)
    module = teacher(checkpoint=path, **flags)
    assert {p.dtype for p in module.denoiser.parameters()} == {torch.float32}
    wanted = features_of(network, ['middle_block'], images / 127.5 - 1,
                         timesteps)['middle_block']
    got = module(images, timesteps)['mid_block']
    assert (got - wanted).norm() < 1e-5 * wanted.norm()


def test_dtype(teacher, saved, images, timesteps):
    flags = LIKE['512x512']
    _, path = saved(**flags)
    wanted = teacher(checkpoint=path, **flags, **condition(flags))(
        images, timesteps)['mid_block']
    module = teacher(checkpoint=path, dtype='bfloat16', **flags,
                     **condition(flags))
    assert {p.dtype for p in module.denoiser.parameters()} == \
        {torch.bfloat16}
    got = module(images, timesteps)['mid_block']
    assert 0 < (got - wanted).norm() / wanted.norm() < 0.05


def test_keeps_the_promises(teacher, saved, images, timesteps):
    flags = LIKE['128x128']
    network, path = saved(**flags)
    module = teacher(load=False, checkpoint=path, **flags, **condition(flags))
    assert module.denoiser is None
    with pytest.raises(RuntimeError, match='init_weights'):
        module(images, timesteps)
    module.init_weights()
    before = module.denoiser
    module.init_weights()
    assert module.denoiser is before
    assert copy.deepcopy(module).denoiser is before
    assert not module.state_dict() and not list(module.parameters())
    assert not any(name.startswith(('up_blocks.', 'conv_out.'))
                   for name, _ in before.named_parameters())
    module.train()
    assert not any(m.training for m in before.modules())


def test_input_size(teacher, saved, timesteps):
    flags = LIKE['128x128']
    network, path = saved(**flags)
    module = teacher(checkpoint=path, input_size=(8, 24), **flags,
                     **condition(flags))
    images = torch.rand(4, 3, 8, 24) * 255
    assert module.feature_shapes['mid_block'] == (96, 1, 3)
    wanted = features_of(network, ['middle_block'], images / 127.5 - 1,
                         timesteps, network.label_emb.weight[207])
    got = module(images, timesteps)['mid_block']
    torch.testing.assert_close(got, wanted['middle_block'], rtol=1e-4,
                               atol=1e-4)
    with pytest.raises(ValueError, match='`teacher.input_size`.*multiple'):
        teacher(load=False, input_size=20, **flags, **condition(flags))


def test_a_flag_overrides_its_preset(teacher):
    module = teacher(load=False, preset='64x64', num_channels=64,
                     channel_mult='1,2', attention_resolutions='32',
                     num_head_channels=32, class_cond=False)
    flags = module.source.flags
    assert flags['channel_mult'] == (1, 2)
    assert flags['attention_resolutions'] == (32, )
    assert flags['noise_schedule'] == 'cosine'
    assert module.feature_shapes == {'mid_block': (128, 32, 32)}


def test_own_defaults(teacher):
    module = teacher(load=False)
    # 128 channels, (1, 2, 3, 4), attention at 16 and 8, four heads
    assert module.feature_shapes == {'mid_block': (512, 8, 8)}
    ours = [type(block).__name__ for block in
            teacher(load=False, taps=['conv_in']).source.build().down_blocks]
    assert ours == ['DownBlock2D'] + ['DownBlock2D', 'AttnDownBlock2D'] + \
        ['AttnDownBlock2D']


@pytest.mark.parametrize('cfg, match', [
    (dict(preset='64'), "`preset` is '64'; nearest: '64x64'"),
    (dict(num_chanels=32), "no flag `num_chanels`; nearest: 'num_channels'"),
    (dict(num_channels='3x'), "`num_channels` is '3x', expected a positive"),
    (dict(num_channels='32.5'), "`num_channels` is '32.5'"),
    (dict(num_channels=True), '`num_channels` is True'),
    (dict(num_heads=0), '`num_heads` is 0'),
    (dict(class_cond=1), '`class_cond` is 1, expected True or False'),
    (dict(channel_mult='1,x'), "`channel_mult` is .*'x'"),
    (dict(attention_resolutions=8), '`attention_resolutions` is 8'),
    (dict(noise_schedule='sqrt'), "`noise_schedule` is 'sqrt'.*cosine"),
    (dict(image_size=96), '`channel_mult` is needed.*not for 96'),
    (dict(num_channels=48), '48 channels; a multiple of 32'),
    (dict(num_channels=96, num_head_channels=64), 'split into heads'),
    (dict(num_heads=5), 'split into heads'),
    (dict(preset='64x64'), '`teacher.class_condition` is needed'),
    (dict(class_condition=TOLD), 'unconditional'),
    (dict(taps=['middle_block']), "`teacher.taps` names 'middle_block'.*"
     "'mid_block'")])
def test_wrong_arguments(teacher, cfg, match):
    with pytest.raises(ValueError, match=match):
        teacher(load=False, **cfg)


def test_no_file(teacher, tmp_path):
    with pytest.raises(FileNotFoundError, match='`checkpoint`.*no/such.pt'):
        teacher(**SMALL)
    with pytest.raises(OSError, match='`checkpoint`'):
        teacher(checkpoint=str(tmp_path), **SMALL)


@pytest.mark.parametrize('share', [0., 0.3, 0.99])
def test_truncated(teacher, saved, share):
    _, path = saved(**SMALL)
    with open(path, 'rb') as file:
        whole = file.read()
    with open(path, 'wb') as file:
        file.write(whole[:int(len(whole) * share)])
    with pytest.raises(OSError, match='`checkpoint`.*cannot be read'):
        teacher(checkpoint=path, **SMALL)


def test_no_state_dict(teacher, tmp_path):
    path = str(tmp_path / 'other.pt')
    torch.save(dict(state_dict={}), path)
    with pytest.raises(ValueError, match='holds no state dict'):
        teacher(checkpoint=path, **SMALL)


@pytest.mark.parametrize('change, match', [
    (dict(class_cond=True), r'1 missing \(label_emb.weight\). Look at '
     '`class_cond`$'),
    (dict(learn_sigma=True), r'2 of another shape \(out.2.weight \(3, 32, 3, '
     r'3\) and not \(6, 32, 3, 3\).*Look at `learn_sigma`$'),
    (dict(num_channels=64), 'Look at `num_channels`$'),
    (dict(use_scale_shift_norm=False), 'Look at `use_scale_shift_norm`$'),
    (dict(resblock_updown=True), r'missing.*surplus.*Look at '
     '`resblock_updown`$'),
    (dict(num_res_blocks=2), 'Look at `num_res_blocks` or `channel_mult`'),
    (dict(channel_mult=(1, 2, 2)), 'Look at `num_res_blocks` or '
     '`channel_mult`'),
    (dict(channel_mult=(1, 3)), 'Look at `preset` and the flags$'),
    (dict(attention_resolutions=(16, )), 'Look at `attention_resolutions`$')])
def test_other_flags(teacher, saved, change, match):
    _, path = saved(**SMALL)
    flags = dict(SMALL, **change)
    module = teacher(load=False, checkpoint=path, **flags, **condition(flags))
    with pytest.raises(ValueError, match=match) as error:
        module.init_weights()
    assert path in str(error.value)
    assert module.denoiser is None


def test_conditional_weights_for_an_unconditional_teacher(teacher, saved):
    _, path = saved(**SMALL, class_cond=True)
    with pytest.raises(ValueError, match=r'1 surplus \(label_emb.weight\). '
                       'Look at `class_cond`'):
        teacher(checkpoint=path, **SMALL)


def test_class_conditions(teacher, saved, images, timesteps):
    flags = LIKE['256x256']
    network, path = saved(**flags)
    table = network.label_emb.weight

    def same(told, labels=None, **cfg):
        wanted = features_of(network, ['middle_block'], images / 127.5 - 1,
                             timesteps, told)['middle_block']
        module = teacher(checkpoint=path, **flags, class_condition=cfg)
        got = module(images, timesteps, labels)['mid_block']
        assert (got - wanted).norm() < 1e-5 * wanted.norm()

    same(table.mean(0), average='all')
    same((table[3] + table[999]) / 2, average=[3, 999])
    same(torch.stack([table[7], table[1], (table[1] + table[7]) / 2,
                      table[7]]),
         torch.tensor([1, 0, -1, 1]), class_map=[1, 7])
