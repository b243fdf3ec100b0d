"""guided-diffusion's flags and checkpoints as people have them."""
import importlib.util

import pytest
import torch

from repfusion_mm.models.teachers.diffusion.sources.guided.flags import (
    settle_flags,
)

SMALL = dict(image_size=16, num_channels=32, num_res_blocks=1,
             channel_mult=(1, 2), attention_resolutions=(8, ),
             num_head_channels=16)
# for its 64x64 checkpoint, its README says
README = ('--attention_resolutions 32,16,8 --class_cond True '
          '--diffusion_steps 1000 --dropout 0.1 --image_size 64 '
          '--learn_sigma True --noise_schedule cosine --num_channels 192 '
          '--num_head_channels 64 --num_res_blocks 3 --resblock_updown True '
          '--use_new_attention_order True --use_fp16 True '
          '--use_scale_shift_norm True')
# everything else that its networks and their diffusion can be told
OTHERS = dict(timestep_respacing='250', use_kl=False, predict_xstart=False,
              rescale_timesteps=False, rescale_learned_sigmas=False,
              use_checkpoint=True, num_heads=4, num_heads_upsample=-1,
              channel_mult='')


@pytest.fixture(scope='module')
def network(root):
    """guided-diffusion's own network, with random weights."""
    spec = importlib.util.spec_from_file_location(
        'guided_unet', root / 'tests/test_models/test_teachers/guided_unet.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GuidedUNet(**SMALL).randomise()


@pytest.fixture
def save(tmp_path):
    """Writes a checkpoint; its path."""

    def write(state):
        torch.save(state, tmp_path / 'model.pt')
        return str(tmp_path / 'model.pt')

    return write


@pytest.fixture
def teacher(build):
    """Builds a teacher, with its weights if it has a checkpoint."""

    def make(checkpoint=None, **cfg):
        module = build(dict(type='repfusion_mm.GuidedDiffusionTeacher',
                            checkpoint=checkpoint or 'no/such.pt', **cfg))
        if checkpoint:
            module.init_weights()
        return module

    return make


def test_flags_of_the_readme(teacher):
    words = README.split()
    texts = {name[2:]: value for name, value in zip(words[::2], words[1::2])}
    values = dict(texts)
    for name, value in texts.items():
        if value in ('True', 'False') or value.isdigit():
            values[name] = eval(value)
    values['dropout'] = 0.1
    network = ('image_size', 'num_channels', 'num_res_blocks', 'class_cond',
               'attention_resolutions', 'channel_mult', 'num_head_channels',
               'resblock_updown', 'use_scale_shift_norm', 'learn_sigma',
               'use_new_attention_order', 'noise_schedule', 'diffusion_steps')
    wanted = settle_flags('64x64', {})
    for flags in (texts, values, dict(texts, **OTHERS)):
        found = settle_flags(None, flags)
        assert {name: found[name] for name in network} == \
            {name: wanted[name] for name in network}
    module = teacher(**dict(texts, num_channels='64', num_res_blocks='1'),
                     **OTHERS, class_condition=dict(fixed=3))
    assert module.feature_shapes == {'mid_block': (256, 8, 8)}
    assert module.num_timesteps == 1000


@pytest.mark.parametrize('steps', [20, 1000, '4000'])
@pytest.mark.parametrize('noise_schedule', ['linear', 'cosine'])
def test_other_numbers_of_steps(teacher, steps, noise_schedule):
    """The same noise in all, in more or fewer steps."""
    module = teacher(diffusion_steps=steps, noise_schedule=noise_schedule,
                     **SMALL)
    steps = int(steps)
    assert module.num_timesteps == steps
    if noise_schedule == 'linear':
        betas = torch.linspace(0.1 / steps, 20 / steps, steps,
                               dtype=torch.float64)
    else:
        level = torch.arange(steps + 1, dtype=torch.float64) / steps
        level = torch.cos((level + 0.008) / 1.008 * torch.pi / 2)**2
        betas = (1 - level[1:] / level[:-1]).clamp(max=0.999)
    torch.testing.assert_close(
        module.source.scheduler.alphas_cumprod.double(),
        torch.cumprod(1 - betas, 0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('rescale', [False, True])
@pytest.mark.parametrize('add_noise', [False, True])
def test_time_that_it_is_told(teacher, network, save, images, rescale,
                              add_noise):
    """As it is counted, or as if there were 1000 steps."""
    module = teacher(save(network.state_dict()), diffusion_steps=4000,
                     rescale_timesteps=rescale, add_noise=add_noise,
                     taps=['mid_block'], **SMALL)
    t = torch.tensor([0, 1, 1202, 3999])
    inputs = images / 127.5 - 1
    if add_noise:
        torch.manual_seed(3)
        kept = torch.cumprod(1 - torch.linspace(
            0.25e-4, 0.5e-2, 4000, dtype=torch.float64), 0)[t].view(4, 1, 1, 1)
        inputs = (kept.sqrt() * inputs + (1 - kept).sqrt()
                  * torch.randn_like(inputs)).float()
    found = []
    handle = network.middle_block.register_forward_hook(
        lambda module, inputs, output: found.append(output))
    network(inputs, t / 4 if rescale else t)
    handle.remove()
    torch.manual_seed(3)
    got = module(images, t)['mid_block']
    assert (got - found[0]).norm() < 1e-4 * found[0].norm()


def test_heads_on_the_way_up(teacher):
    flags = dict(SMALL, num_head_channels=-1, num_heads=2)
    heads = {
        name.split('.')[0]: module.heads for name, module in teacher(
            num_heads_upsample=4, **flags).source.build().named_modules()
        if hasattr(module, 'to_q')}
    assert heads == dict(down_blocks=2, mid_block=2, up_blocks=4)
    with pytest.raises(ValueError, match='by `num_heads_upsample` 5'):
        teacher(num_heads_upsample=5, **flags)


@pytest.mark.parametrize('flags, match', [
    (dict(diffusion_steps=19), '`diffusion_steps` is 19.*at least 20'),
    (dict(diffusion_steps='many'), "`diffusion_steps` is 'many'"),
    (dict(dropout=2), '`dropout` is 2, expected a number from 0 to 1'),
    (dict(use_fp16='yes please'), "`use_fp16` is 'yes please', expected True"),
    (dict(large_size=256), '`large_size`.*super-resolution'),
    (dict(batch_size=4), 'no flag `batch_size`.*left out')])
def test_wrong_flags(teacher, flags, match):
    with pytest.raises(ValueError, match=match):
        teacher(**dict(SMALL, **flags))


def prefixed(state, prefix):
    return {f'{prefix}{name}': weight for name, weight in state.items()}


@pytest.mark.parametrize('wrap', [
    lambda state, other: state,
    lambda state, other: prefixed(state, 'module.'),
    lambda state, other: prefixed(state, 'module._orig_mod.'),
    lambda state, other: dict(prefixed(state, 'module.'),
                              n_averaged=torch.tensor(9)),
    lambda state, other: dict(state_dict=state, epoch=3),
    lambda state, other: dict(model=other, ema=state, step=7, optimizer=dict(
        state={0: dict(exp_avg=torch.ones(3))}, param_groups=[{}])),
    lambda state, other: dict(model=prefixed(other, 'module.'),
                              ema_0_9999=prefixed(state, 'module.')),
    lambda state, other: dict(prefixed(other, 'online_model.'),
                              **prefixed(state, 'ema_model.'))])
def test_wrapped_checkpoints(teacher, network, save, wrap):
    """The average is what one samples from."""
    state = network.state_dict()
    other = {name: weight + 1 for name, weight in state.items()}
    module = teacher(save(wrap(state, other)), taps=['conv_in'], **SMALL)
    assert torch.equal(module.denoiser.conv_in.weight,
                       state['input_blocks.0.0.weight'])


def test_safetensors(teacher, network, tmp_path):
    from safetensors.torch import save_file
    path = str(tmp_path / 'model.safetensors')
    save_file(network.state_dict(), path)
    module = teacher(path, taps=['conv_in'], **SMALL)
    assert torch.equal(module.denoiser.conv_in.weight,
                       network.state_dict()['input_blocks.0.0.weight'])


@pytest.mark.parametrize('wrap, match', [
    (lambda state: dict(a=state, b=state), r"2 state dicts .*\['a.', 'b.'\]"),
    (lambda state: dict(ema_1=state, ema_2=state), '2 state dicts'),
    (lambda state: dict(prefixed(state, 'model.diffusion_model.'), **{
        'first_stage_model.encoder.conv_in.weight': torch.ones(1)}),
     'latent diffusion'),
    (lambda state: dict(state_dict={}), 'holds no state dict'),
    (lambda state: [1, 2], 'holds no state dict')])
def test_refused_checkpoints(teacher, network, save, wrap, match):
    path = save(wrap(network.state_dict()))
    with pytest.raises(ValueError, match=f'`checkpoint` is .*{match}'):
        teacher(path, **SMALL)
