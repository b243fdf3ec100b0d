import copy
import json
import shutil

import pytest
import torch
from torch import nn

MID = 'mid_block.resnets.1.conv2'
DOWN = 'down_blocks.0.resnets.0'
UP = 'up_blocks.0.resnets.1'


@pytest.fixture
def teacher(build, pipeline_folder):
    """Builds a teacher, with its weights."""

    def make(load=True, **cfg):
        if 'config' not in cfg:
            cfg.setdefault('pretrained', pipeline_folder)
        module = build(dict(type='repfusion_mm.UNetTeacher', **cfg))
        if load:
            module.init_weights()
        return module

    return make


def to_input(images):
    return images / 127.5 - 1


def num_params(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('taps', [
    [MID], ['mid_block'], [DOWN], ['down_blocks.1.attentions.0', DOWN],
    [MID, DOWN, UP, 'mid_block', 'up_blocks.1'], ['conv_in'], ['conv_out']])
def test_features(teacher, complete, images, timesteps, taps):
    module = teacher(taps=taps)
    features = module(images, timesteps)
    wanted = complete(to_input(images), timesteps, taps)
    assert set(features) == set(taps)
    for tap in taps:
        torch.testing.assert_close(features[tap], wanted[tap])
        assert module.feature_shapes[tap] == wanted[tap].shape[1:]
        assert not features[tap].requires_grad


def test_features_depend_on_t(teacher, images):
    module = teacher()
    zero, late = (module(images, torch.full((4, ), t))['mid_block']
                  for t in (0, 900))
    assert (zero - late).abs().max() > 1e-3


def test_nothing_behind_the_tap(teacher, unet):
    module = teacher(taps=[MID])
    kept = dict(module.denoiser.named_parameters())
    gone = set(dict(unet.named_parameters())) - set(kept)
    assert gone == {name for name, _ in unet.named_parameters()
                    if name.startswith(('up_blocks.', 'conv_norm_out.',
                                        'conv_out.'))}
    early = teacher(taps=[DOWN])
    assert num_params(early.denoiser) < num_params(module.denoiser) \
        < num_params(unet)
    assert not any(name.startswith('mid_block')
                   for name, _ in early.denoiser.named_parameters())
    for name, weight in kept.items():
        assert torch.equal(weight, unet.get_parameter(name))


def test_stops_at_the_tap(teacher, images, timesteps):
    module = teacher(taps=[DOWN])
    calls = []
    for child in module.denoiser.modules():
        child.register_forward_pre_hook(lambda m, _: calls.append(m))
    module(images, timesteps)
    later = module.denoiser.get_submodule('down_blocks.0').resnets[0]
    assert later in calls
    assert not any(isinstance(m, nn.Identity) for m in calls)


def test_bare_folder(teacher, bare_folder, images, timesteps):
    ours = teacher(pretrained=bare_folder)
    other = teacher()
    assert ours.num_timesteps == 1000
    assert torch.equal(ours(images, timesteps)['mid_block'],
                       other(images, timesteps)['mid_block'])


def test_random_weights(teacher, tiny, images, timesteps):
    module = teacher(config=tiny)
    assert module(images, timesteps)['mid_block'].shape == (4, 32, 8, 8)


def test_default_range(teacher, complete, timesteps):
    images = torch.zeros(4, 3, 16, 16)
    images[2:] = 255.
    wanted = complete(torch.where(images > 0, 1., -1.), timesteps, ['conv_in'])
    got = teacher(taps=['conv_in'])(images, timesteps)
    torch.testing.assert_close(got['conv_in'], wanted['conv_in'])


def test_published_cifar_range(teacher, complete, images, timesteps):
    module = teacher(taps=['conv_in'], input_range=(-1, 127 / 128))
    wanted = complete(images / 128 - 1, timesteps, ['conv_in'])['conv_in']
    got = module(images, timesteps)['conv_in']
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    other = complete(to_input(images), timesteps, ['conv_in'])['conv_in']
    assert not torch.allclose(got, other, rtol=1e-5, atol=1e-6)


def test_grey_denoiser(teacher, tiny, images, timesteps):
    module = teacher(config=dict(tiny, in_channels=1, out_channels=1),
                     taps=['conv_in'])
    # ITU-R BT.601, by hand
    r, g, b = images.double().unbind(1)
    luma = (0.299 * r + 0.587 * g + 0.114 * b)[:, None] / 127.5 - 1
    wanted = module.denoiser.conv_in(luma.float())
    torch.testing.assert_close(
        module(images, timesteps)['conv_in'], wanted, rtol=1e-4, atol=1e-5)


def test_grey_images_stay_grey(teacher, tiny, timesteps):
    module = teacher(config=dict(tiny, in_channels=1), taps=['conv_in'])
    grey = torch.rand(4, 1, 16, 16) * 255
    wanted = module.denoiser.conv_in(to_input(grey))
    got = module(grey.expand(-1, 3, -1, -1), timesteps)['conv_in']
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_shrinks(teacher, complete, timesteps):
    # a ramp stays a ramp, away from the borders
    ramp = (torch.arange(32.) * 5).expand(4, 3, 32, 32)
    module = teacher(taps=['conv_in'])
    small = (torch.arange(16.) * 2 + 0.5) * 5
    wanted = complete(to_input(small.expand(4, 3, 16, 16)), timesteps,
                      ['conv_in'])['conv_in']
    got = module(ramp, timesteps)['conv_in']
    assert got.shape == wanted.shape
    torch.testing.assert_close(got[..., 4:-4], wanted[..., 4:-4])


def test_shrinks_without_aliasing(teacher, complete, timesteps):
    # fine stripes become their mean colour, wherever they lie
    fine = torch.zeros(4, 3, 64, 64)
    fine[..., 1::4] = fine[..., 2::4] = 255.
    wanted = complete(torch.zeros(4, 3, 16, 16), timesteps, ['conv_in'])
    got = teacher(taps=['conv_in'])(fine, timesteps)['conv_in']
    assert (got - wanted['conv_in'])[..., 2:-2, 2:-2].abs().max() < 0.03


@pytest.mark.parametrize('size, wanted', [
    (8, (32, 4, 4)), ((16, 24), (32, 8, 12)), (32, (32, 16, 16))])
def test_image_size(teacher, images, timesteps, size, wanted):
    module = teacher(image_size=size)
    assert module.feature_shapes['mid_block'] == wanted
    assert module(images, timesteps)['mid_block'].shape == (4, *wanted)


def test_enlarges(teacher, timesteps):
    flat = torch.full((4, 3, 8, 8), 100.)
    large = torch.full((4, 3, 16, 16), 100.)
    module = teacher()
    torch.testing.assert_close(module(flat, timesteps)['mid_block'],
                               module(large, timesteps)['mid_block'])


@pytest.mark.parametrize('cosine', [False, True])
def test_add_noise(teacher, unet, complete, images, tmp_path, cosine):
    from diffusers import DDPMPipeline, DDPMScheduler
    if cosine:
        steps = 100
        level = torch.arange(steps + 1, dtype=torch.float64) / steps
        level = torch.cos((level + 0.008) / 1.008 * torch.pi / 2)**2
        betas = (1 - level[1:] / level[:-1]).clamp(max=0.999)
        scheduler = DDPMScheduler(steps, beta_schedule='squaredcos_cap_v2')
    else:
        steps = 1000
        betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)
        scheduler = DDPMScheduler()
    alphas = torch.cumprod(1 - betas, 0)
    DDPMPipeline(unet, scheduler).save_pretrained(tmp_path)
    module = teacher(pretrained=str(tmp_path), add_noise=True)
    assert module.num_timesteps == steps
    t = torch.tensor([0, 10, 50, 99])

    torch.manual_seed(3)
    noise = torch.randn(4, 3, 16, 16)
    torch.manual_seed(3)
    got = module(images, t)['mid_block']
    kept = alphas[t].view(4, 1, 1, 1)
    noisy = kept.sqrt() * to_input(images) + (1 - kept).sqrt() * noise
    wanted = complete(noisy.float(), t, ['mid_block'])['mid_block']
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)
    clean = teacher()(images, t)['mid_block']
    assert (got - clean).abs().max() > 0.05


@pytest.mark.parametrize('how', ['bfloat16', 'autocast'])
def test_low_precision(teacher, images, timesteps, how):
    wanted = teacher()(images, timesteps)['mid_block']
    if how == 'autocast':
        with torch.autocast('cpu', dtype=torch.bfloat16):
            got = teacher()(images, timesteps)['mid_block']
    else:
        module = teacher(dtype=how)
        assert {p.dtype for p in module.denoiser.parameters()} == \
            {torch.bfloat16}
        got = module(images, timesteps)['mid_block']
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert torch.equal(module(images, timesteps)['mid_block'], got)
    assert got.dtype == torch.float32
    assert not torch.equal(got, wanted)
    assert (got - wanted).norm() / wanted.norm() < 0.03


def test_is_no_submodule(teacher):
    module = teacher()
    assert not module.state_dict()
    assert not list(module.parameters())
    assert module.denoiser not in set(module.modules())
    assert nn.ModuleList([module]).train().state_dict() == {}


def test_stays_frozen(teacher):
    module = teacher()
    parent = nn.ModuleList([module])
    parent.train().requires_grad_(True)
    assert not any(m.training for m in module.denoiser.modules())
    assert not any(p.requires_grad for p in module.denoiser.parameters())


def test_deepcopy_shares(teacher):
    module = teacher()
    other = copy.deepcopy(nn.ModuleList([module]))[0]
    assert other is not module
    assert other.denoiser is module.denoiser


def test_to(teacher):
    module = teacher()
    nn.ModuleList([module]).to(torch.float64)
    assert {p.dtype for p in module.denoiser.parameters()} == {torch.float64}
    module.to('meta')
    assert {p.device.type for p in module.denoiser.parameters()} == {'meta'}


def test_to_before_the_weights(teacher):
    module = teacher(load=False)
    nn.ModuleList([module]).to('meta')
    module.init_weights()
    assert {p.device.type for p in module.denoiser.parameters()} == {'meta'}


@pytest.mark.gpu
def test_gpu(teacher, images, timesteps):
    wanted = teacher()(images, timesteps)['mid_block']
    for dtype, close in ((None, 0.01), ('float16', 0.02)):
        module = teacher(load=False, dtype=dtype).cuda()
        module.init_weights()
        got = module(images.cuda(), timesteps.cuda())['mid_block'].cpu()
        assert (got - wanted).norm() / wanted.norm() < close


def test_weights_are_read_once(teacher, pipeline_folder):
    module = teacher()
    before = module.denoiser
    module.init_weights()
    assert module.denoiser is before


def test_forward_without_weights(teacher, images, timesteps):
    with pytest.raises(RuntimeError, match='init_weights'):
        teacher(load=False)(images, timesteps)


@pytest.fixture
def damaged(pipeline_folder, tmp_path):
    """A copy of the pipeline to damage, and its weights' file."""
    folder = tmp_path / 'damaged'
    shutil.copytree(pipeline_folder, folder)
    return folder, folder / 'unet' / 'diffusion_pytorch_model.safetensors'


def refused(teacher, folder):
    module = teacher(load=False, pretrained=str(folder))
    assert module.feature_shapes == {'mid_block': (32, 8, 8)}
    with pytest.raises(OSError, match='`teacher.pretrained`') as error:
        module.init_weights()
    assert str(folder) in str(error.value)
    assert module.denoiser is None


def test_no_weights(teacher, damaged):
    folder, weights = damaged
    weights.unlink()
    refused(teacher, folder)


@pytest.mark.parametrize('share', [0., 0.3, 0.99])
def test_truncated_weights(teacher, damaged, share):
    folder, weights = damaged
    whole = weights.read_bytes()
    weights.write_bytes(whole[:int(len(whole) * share)])
    refused(teacher, folder)


@pytest.mark.parametrize('change', ['missing', 'foreign', 'shape'])
def test_other_weights(teacher, damaged, change):
    from safetensors.torch import load_file, save_file
    folder, weights = damaged
    state = load_file(weights)
    if change == 'missing':
        del state['conv_in.bias']
    elif change == 'foreign':
        state['conv_on.bias'] = torch.zeros(3)
    else:
        state['conv_in.bias'] = torch.zeros(3)
    save_file(state, weights)
    refused(teacher, folder)


def test_unknown_tap(teacher):
    with pytest.raises(ValueError, match="`teacher.taps` names "
                       "'mid_blok.resnets.1'.*'mid_block.resnets.1'"):
        teacher(load=False, taps=['mid_blok.resnets.1'])


@pytest.mark.parametrize('where', ['no/such/folder', 'nobody/no-such-model'])
def test_nowhere(teacher, where):
    with pytest.raises(FileNotFoundError, match=where):
        teacher(load=False, pretrained=where)


def test_folder_of_something_else(teacher, tmp_path):
    (tmp_path / 'config.json').write_text(
        json.dumps(dict(_class_name='AutoencoderKL')))
    with pytest.raises(ValueError, match='AutoencoderKL'):
        teacher(load=False, pretrained=str(tmp_path))
    with pytest.raises(FileNotFoundError):
        teacher(load=False, pretrained=str(tmp_path / 'unet'))


@pytest.mark.parametrize('size, near', [
    (15, '14 or 16'), ((16, 21), '20 or 22'), (1, '2')])
def test_wrong_image_size(teacher, size, near):
    with pytest.raises(ValueError, match='`teacher.image_size`.*multiple of '
                       f'2; nearest: {near}'):
        teacher(load=False, image_size=size)


def test_unknown_image_size(teacher, tiny):
    del tiny['sample_size']
    with pytest.raises(ValueError, match='`teacher.image_size` is needed'):
        teacher(load=False, config=tiny)
    assert teacher(load=False, config=tiny, image_size=16).image_size == \
        (16, 16)


def test_one_of_two(build):
    with pytest.raises(ValueError, match='`pretrained`.*`config`, or both'):
        build(dict(type='repfusion_mm.UNetTeacher'))


def test_config_beside_a_folder(teacher, tiny, pipeline_folder, images,
                                timesteps, tmp_path):
    module = teacher(load=False, config=tiny, pretrained=str(tmp_path))
    assert module.feature_shapes == {'mid_block': (32, 8, 8)}
    with pytest.raises(FileNotFoundError, match='`teacher.pretrained`'):
        module.init_weights()
    module = teacher(config=tiny, pretrained=pipeline_folder)
    assert torch.equal(module(images, timesteps)['mid_block'],
                       teacher()(images, timesteps)['mid_block'])


@pytest.mark.parametrize('name, value, found', [
    ('block_out_channels', (16, 64), r'\[16, 32\]'),
    ('sample_size', 32, '16'),
    ('norm_num_groups', 4, '8'),
    ('down_block_types', ['DownBlock2D', 'DownBlock2D'], 'AttnDownBlock2D'),
    ('freq_shift', 1, '0'),
    ('act_fn', 'gelu', "'silu'")])
def test_config_against_a_folder(teacher, tiny, pipeline_folder, name, value,
                                 found):
    module = teacher(load=False, config=dict(tiny, **{name: value}),
                     pretrained=pipeline_folder)
    with pytest.raises(ValueError, match=f'`teacher.config.{name}` is .* '
                       f'has .*{found}'):
        module.init_weights()
    assert module.denoiser is None


def test_config_that_only_spells_differently(teacher, tiny, pipeline_folder):
    # lists and tuples, defaults written out, and what does nothing in eval
    config = dict(tiny, block_out_channels=[16, 32], out_channels=3,
                  dropout=0.3)
    assert teacher(config=config, pretrained=pipeline_folder).denoiser


def test_schedule_against_a_folder(teacher, unet, tiny, tmp_path):
    from diffusers import DDPMPipeline, DDPMScheduler
    DDPMPipeline(unet, DDPMScheduler(
        beta_schedule='squaredcos_cap_v2')).save_pretrained(tmp_path)
    module = teacher(config=tiny, pretrained=str(tmp_path))
    assert module.source.scheduler.config.beta_schedule == \
        'squaredcos_cap_v2'
    DDPMPipeline(unet, DDPMScheduler(100)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='knows 100 time steps.* 1000'):
        teacher(config=tiny, pretrained=str(tmp_path))


CLASSES = 6


@pytest.fixture
def conditional(tiny, tmp_path):
    """A class-conditional denoiser, and its pipeline folder."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    unet = UNet2DModel(**tiny, num_class_embeds=CLASSES).eval()
    unet.requires_grad_(False)
    folder = str(tmp_path / 'conditional')
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    return unet, folder


def told(unet, images, timesteps, classes):
    """The denoiser's output, told so; a list is an average."""
    table = unet.class_embedding.weight
    rows = torch.stack([
        table[one].clone() if isinstance(one, int) else
        sum(table[part] for part in one) / len(one) for one in classes])
    unet = copy.deepcopy(unet)
    unet.class_embedding.weight = nn.Parameter(rows, requires_grad=False)
    return unet(to_input(images), timesteps, torch.arange(4)).sample


@pytest.mark.parametrize('condition, labels, classes', [
    (dict(fixed=4), None, [4, 4, 4, 4]),
    (dict(fixed=0), [3, 9, -1, -7], [0, 0, 0, 0]),
    (dict(average=[1, 5]), None, [[1, 5]] * 4),
    (dict(average=(2, )), None, [2, 2, 2, 2]),
    (dict(average=[1, 1, 5]), None, [[1, 5]] * 4),
    (dict(average='all'), None, [[0, 1, 2, 3, 4, 5]] * 4),
    (dict(class_map=[5, 2, 0]), [2, 0, -1, 1], [0, 5, [5, 2, 0], 2]),
    (dict(class_map=[5, 2, 5]), [2, 0, -1, 1], [5, 5, [5, 2], 2]),
    (dict(class_map={7: 1, 3: 4}), [3, 7, -1, 3], [4, 1, [1, 4], 4]),
    (dict(class_map=[3]), [-1, -1, -1, 0], [3, 3, 3, 3])])
def test_class_condition(teacher, conditional, images, timesteps, condition,
                         labels, classes):
    unet, folder = conditional
    module = teacher(pretrained=folder, class_condition=condition,
                     taps=['conv_out'])
    assert module.reads_labels == ('class_map' in condition)
    assert not module.allows_label_leak
    labels = labels if labels is None else torch.tensor(labels)
    got = module(images, timesteps, labels)['conv_out']
    torch.testing.assert_close(got, told(unet, images, timesteps, classes),
                               rtol=1e-4, atol=1e-5)
    other = told(unet, images, timesteps, [3 - (classes[0] == 3)] * 4)
    assert (got - other).abs().max() > 1e-3


def test_one_class_is_exact(teacher, conditional):
    unet, folder = conditional
    module = teacher(pretrained=folder, class_condition=dict(
        class_map=[4, 2]))
    assert torch.equal(module.denoiser.class_embedding.weight[:2],
                       unet.class_embedding.weight[[4, 2]])


def test_class_condition_in_half(teacher, conditional, images, timesteps):
    _, folder = conditional
    cfg = dict(pretrained=folder, class_condition=dict(average='all'))
    wanted = teacher(**cfg)(images, timesteps)['mid_block']
    got = teacher(dtype='bfloat16', **cfg)(images, timesteps)['mid_block']
    assert 0 < (got - wanted).norm() / wanted.norm() < 0.03


def test_leak_labels(teacher, conditional, images, timesteps):
    _, folder = conditional
    for leak in (True, False):
        module = teacher(load=False, pretrained=folder, class_condition=dict(
            class_map=[0, 1], leak_labels=leak))
        assert module.reads_labels and module.allows_label_leak is leak
    plain = teacher(load=False)
    assert not plain.reads_labels and not plain.allows_label_leak


@pytest.mark.parametrize('condition, match', [
    (None, "is needed.*6 classes.*fixed.*average.*'all'.*class_map"),
    (dict(), 'exactly one of'),
    (dict(fixed=1, average='all'), 'exactly one of.*fixed.*average'),
    (dict(fixd=1), "has no 'fixd'; nearest: 'fixed'"),
    (dict(fixed=6), r'.fixed` names the class 6.*0 to 5'),
    (dict(fixed=-1), '.fixed` names the class -1'),
    (dict(fixed=True), '.fixed` names the class True'),
    (dict(fixed='cat'), ".fixed` names the class 'cat'"),
    (dict(average=[1, 17]), '.average` names the class 17'),
    (dict(average=3), '.average` is 3'),
    (dict(average='none'), ".average` is 'none'"),
    (dict(average=[]), '.average` is empty'),
    (dict(class_map=[0, 6]), '.class_map` names the class 6'),
    (dict(class_map={0: 1.5}), '.class_map` names the class 1.5'),
    (dict(class_map={-1: 1}), '.class_map` maps -1'),
    (dict(class_map={'0': 1}), ".class_map` maps '0'"),
    (dict(class_map={}), '.class_map` is empty'),
    (dict(class_map='all'), ".class_map` is 'all'"),
    (dict(class_map=[1], leak_labels='yes'), ".leak_labels` is 'yes'"),
    (dict(fixed=1, leak_labels=True), '.leak_labels` is True beside `fixed`')])
def test_wrong_class_condition(teacher, tiny, condition, match):
    with pytest.raises(ValueError, match='`teacher.class_condition.*' + match):
        teacher(load=False, config=dict(tiny, num_class_embeds=CLASSES),
                class_condition=condition)


def test_class_condition_of_an_unconditional_denoiser(teacher):
    with pytest.raises(ValueError, match='`teacher.class_condition` is .*'
                       'unconditional'):
        teacher(load=False, class_condition=dict(fixed=0))


@pytest.mark.parametrize('labels, match', [
    (None, r'class_map` needs `labels`.*\(4,\).*None'),
    ([0, 1, 1], r'needs `labels`.*\(3,\)'),
    ([0, 1, 2, 0], r'no entry for the label 2, only for 0, 1$'),
    ([0, 1, -2, 0], 'no entry for the label -2')])
def test_wrong_labels(teacher, conditional, images, timesteps, labels, match):
    _, folder = conditional
    module = teacher(pretrained=folder, class_condition=dict(
        class_map=[4, 2]))
    labels = labels if labels is None else torch.tensor(labels)
    with pytest.raises(ValueError, match=match):
        module(images, timesteps, labels)


@pytest.mark.parametrize('kind', ['timestep', 'identity'])
def test_other_conditions(teacher, tiny, kind):
    with pytest.raises(ValueError, match='`teacher.config`.*class_embed_type='
                       f"'{kind}'"):
        teacher(load=False, config=dict(tiny, class_embed_type=kind),
                class_condition=dict(fixed=0))


@pytest.mark.parametrize('cfg, match', [
    (dict(dtype='half'), '`teacher.dtype`.*float16'),
    (dict(input_range=(1, -1)), '`teacher.input_range`'),
    (dict(input_range=(0, )), '`input_range` is'),
    (dict(class_condition=207), '`class_condition` is 207, but')])
def test_wrong_arguments(teacher, cfg, match):
    with pytest.raises(ValueError, match=match):
        teacher(load=False, **cfg)


def test_wrong_config(teacher, tiny):
    with pytest.raises(ValueError, match='`teacher.config`.*blok_out'):
        teacher(load=False, config=dict(tiny, blok_out_channels=(8, )))
    with pytest.raises(ValueError, match='1 or 3 channels.*4'):
        teacher(load=False, config=dict(tiny, in_channels=4))


def test_wrong_config_in_a_folder(teacher, damaged):
    folder, _ = damaged
    path = folder / 'unet' / 'config.json'
    config = json.loads(path.read_text())
    path.write_text(json.dumps(dict(config, block_out_channels=[16])))
    with pytest.raises(ValueError, match='`teacher.pretrained`.*cannot build'):
        teacher(load=False, pretrained=str(folder))


def test_config_of_diffusers_defaults(build):
    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         config=dict(sample_size=32)))
    # four levels, so that a side is halved three times
    assert teacher.feature_shapes == {'mid_block': (896, 4, 4)}


def test_config_of_a_newer_diffusers(build, pipeline_folder, tmp_path):
    folder = tmp_path / 'newer'
    shutil.copytree(pipeline_folder, folder)
    path = folder / 'unet' / 'config.json'
    config = json.loads(path.read_text())
    path.write_text(json.dumps(dict(config, from_the_future=None)))
    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         pretrained=str(folder)))
    teacher.init_weights()
    assert 'from_the_future' not in teacher.source.config
