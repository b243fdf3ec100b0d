"""A single file with the names of Stable Diffusion's own code."""
import json
import re

import pytest
import torch
from safetensors.torch import save_file

INSIDE = {'norm1': 'in_layers.0', 'conv1': 'in_layers.2',
          'time_emb_proj': 'emb_layers.1', 'norm2': 'out_layers.0',
          'conv2': 'out_layers.3', 'conv_shortcut': 'skip_connection'}
OUTSIDE = {'time_embedding.linear_1': 'time_embed.0',
           'time_embedding.linear_2': 'time_embed.2',
           'conv_in': 'input_blocks.0.0', 'conv_norm_out': 'out.0',
           'conv_out': 'out.2'}


def denoisers_name(key):
    """Of a U-Net with one residual block a level."""
    for new, old in OUTSIDE.items():
        if key.startswith(f'{new}.'):
            return old + key[len(new):]
    side, *rest = re.match(
        r'(down|mid|up)_block(?:s\.(\d+))?\.(\w+)\.(\d+)\.(.*)', key).groups()
    level, kind, index, inner = int(rest[0] or 0), *rest[1:]
    index = int(index)
    if kind == 'resnets':
        name, _, weight = inner.rpartition('.')
        inner = f'{INSIDE[name]}.{weight}'
    if side == 'mid':
        place = {('resnets', 0): 0, ('attentions', 0): 1,
                 ('resnets', 1): 2}[kind, index]
        return f'middle_block.{place}.{inner}'
    if side == 'down':
        if kind == 'downsamplers':
            return f'input_blocks.{2 * level + 2}.0.op.' + \
                inner.replace('conv.', '')
        return f'input_blocks.{2 * level + 1 + index}.' \
            f'{int(kind == "attentions")}.{inner}'
    if kind == 'upsamplers':  # behind the last attention, if there is one
        return f'output_blocks.{2 * level + 1}.{1 if level == 0 else 2}.' + \
            inner
    return f'output_blocks.{2 * level + index}.' \
        f'{int(kind == "attentions")}.{inner}'


def autoencoders_name(key):
    """Of one with a residual block a level."""
    key = re.sub(r'(en|de)coder\.mid_block\.resnets\.(\d)',
                 lambda m: f'{m[1]}coder.mid.block_{int(m[2]) + 1}', key)
    key = key.replace('mid_block.attentions.0', 'mid.attn_1')
    for new, old in (('group_norm', 'norm'), ('to_q', 'q'), ('to_k', 'k'),
                     ('to_v', 'v'), ('to_out.0', 'proj_out')):
        key = re.sub(rf'attn_1\.{re.escape(new)}\.', f'attn_1.{old}.', key)
    key = re.sub(r'down_blocks\.(\d)\.resnets\.(\d)', r'down.\1.block.\2', key)
    key = re.sub(r'down_blocks\.(\d)\.downsamplers\.0',
                 r'down.\1.downsample', key)
    key = re.sub(r'up_blocks\.(\d)\.resnets\.(\d)',
                 lambda m: f'up.{1 - int(m[1])}.block.{m[2]}', key)
    key = re.sub(r'up_blocks\.(\d)\.upsamplers\.0',
                 lambda m: f'up.{1 - int(m[1])}.upsample', key)
    return key.replace('conv_shortcut', 'nin_shortcut').replace(
        'conv_norm_out', 'norm_out')


@pytest.fixture
def folder(tmp_path):
    """A pipeline, and the same weights in one file."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    parts = dict(
        unet=UNet2DConditionModel(
            sample_size=8, block_out_channels=(8, 16), layers_per_block=1,
            norm_num_groups=4, cross_attention_dim=12, attention_head_dim=4,
            addition_embed_type=None,
            down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
            up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D')),
        vae=AutoencoderKL(
            block_out_channels=(8, 16), norm_num_groups=4, latent_channels=4,
            down_block_types=('DownEncoderBlock2D', ) * 2,
            up_block_types=('UpDecoderBlock2D', ) * 2),
        scheduler=DDIMScheduler(beta_schedule='scaled_linear'))
    for name, part in parts.items():
        part.save_pretrained(tmp_path / 'sd' / name)
    (tmp_path / 'sd' / 'model_index.json').write_text(json.dumps(dict(
        _class_name='StableDiffusionPipeline', **{
            name: ['diffusers', type(part).__name__]
            for name, part in parts.items()})))
    state = {f'model.diffusion_model.{denoisers_name(key)}': value
             for key, value in parts['unet'].state_dict().items()}
    for key, value in parts['vae'].state_dict().items():
        name = autoencoders_name(key)
        if 'attn_1' in name and 'norm' not in name and value.dim() == 2:
            value = value[..., None, None]  # convolutions there
        state[f'first_stage_model.{name}'] = value
    save_file({key: value.contiguous() for key, value in state.items()},
              str(tmp_path / 'sd.safetensors'))
    return tmp_path


def test_same_as_the_folder(build, folder, monkeypatch):
    from repfusion_mm.models.teachers.diffusion.sources import (
        stable_diffusion,
    )
    text = torch.randn(1, 77, 12)
    monkeypatch.setattr(stable_diffusion.StableDiffusion, 'encode_nothing',
                        lambda self: dict(encoder_hidden_states=text))
    cfg = dict(type='repfusion_mm.DiffusionTeacher', image_size=16,
               taps=['up_blocks.1'])
    teachers = [build(dict(cfg, pretrained=str(folder / 'sd'))),
                build(dict(cfg, pretrained=str(folder / 'sd.safetensors'),
                           config=str(folder / 'sd')))]
    for teacher in teachers:
        teacher.init_weights()
    images, t = torch.rand(2, 3, 16, 16) * 255, torch.tensor([3, 500])
    one, other = (teacher(images, t)['up_blocks.1'] for teacher in teachers)
    torch.testing.assert_close(one, other)


def test_errors(build, folder):
    cfg = dict(type='repfusion_mm.DiffusionTeacher')
    path = str(folder / 'sd.safetensors')
    with pytest.raises(ValueError, match='single file of weights needs it'):
        build(dict(cfg, pretrained=path))
    with pytest.raises(ValueError, match='nothing else takes it'):
        build(dict(cfg, pretrained=str(folder / 'sd'), config='x'))
    (folder / 'sd.ckpt').write_bytes(b'1')
    with pytest.raises(ValueError, match='`.safetensors` are read'):
        build(dict(cfg, pretrained=str(folder / 'sd.ckpt'), config='x'))
    (folder / 'sd' / 'vae' / 'config.json').unlink()
    with pytest.raises(FileNotFoundError, match='vae/config.json. is not '
                       'there: it was not fetched'):
        build(dict(cfg, pretrained=str(folder / 'sd')))


def test_unknown_classes(build, folder):
    path = folder / 'sd' / 'unet' / 'config.json'
    config = json.loads(path.read_text())
    for name, match in (
            ('UNet2DConditionModl', 'nearest: .UNet2DConditionModel'),
            ('UNet3DConditionModel', 'it knows .*UNet2DModel')):
        path.write_text(json.dumps(dict(config, _class_name=name)))
        with pytest.raises(ValueError, match=match):
            build(dict(type='repfusion_mm.DiffusionTeacher',
                       pretrained=str(folder / 'sd')))


def test_class_that_diffusers_lacks():
    from repfusion_mm.models.teachers.diffusion.sources.layout import (
        diffusers_class,
    )
    with pytest.raises(ValueError, match='NoSuchTransformer2DModel, which '
                       'diffusers 0.* does not have'):
        diffusers_class('NoSuchTransformer2DModel', 'this')
