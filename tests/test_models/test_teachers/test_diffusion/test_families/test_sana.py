"""Sana: a deep autoencoder's latents, linear attention."""
import copy
import json

import diffusers
import pytest
import torch

from tests.test_models.test_teachers.test_diffusion.test_families.prompted import (  # noqa: E501
    PromptedFamily,
)

PROMPTS = ('', 'a photo of a cat', 'a photo of a dog')
TAPS = ['transformer_blocks.0', 'transformer_blocks.1.attn1.to_q']
HERE = hasattr(diffusers, 'SanaTransformer2DModel')


@pytest.fixture
def sana(family, save, name_encoders, tmp_path, build, stored):
    if not HERE:
        pytest.skip('this diffusers has no Sana')
    torch.manual_seed(4)

    def make(prompts=('', ) * 3, config=None, **cfg):
        transformer = diffusers.SanaTransformer2DModel(**dict(dict(
            in_channels=6, out_channels=6, num_attention_heads=2,
            attention_head_dim=6, num_layers=3, num_cross_attention_heads=2,
            cross_attention_head_dim=6, cross_attention_dim=12,
            caption_channels=10, sample_size=8), **(config or {}))).eval()
        vae = diffusers.AutoencoderDC(
            latent_channels=6, attention_head_dim=4,
            encoder_block_types=('ResBlock', 'EfficientViTBlock'),
            decoder_block_types=('ResBlock', 'EfficientViTBlock'),
            encoder_block_out_channels=(12, 12),
            decoder_block_out_channels=(12, 12),
            encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), (5, )),
            decoder_qkv_multiscales=((), (5, )), scaling_factor=0.41407,
            downsample_block_type='Conv',
            upsample_block_type='interpolate').eval()
        folder = save(tmp_path / 'sana', 'SanaPipeline',
                      transformer=transformer, vae=vae,
                      scheduler=diffusers.DPMSolverMultistepScheduler(
                          prediction_type='flow_prediction',
                          use_flow_sigmas=True, flow_shift=3.))
        name_encoders(folder, '')
        texts = {prompt: dict(
            encoder_hidden_states=torch.randn(1, 300, 10),
            encoder_attention_mask=(
                torch.arange(300)[None] < 1 + 4 * place).long())
            for place, prompt in enumerate(PROMPTS)}
        told = {name: torch.cat([texts[prompt][name] for prompt in prompts])
                for name in texts['']}
        hidden = told['encoder_hidden_states'].double()
        double = copy.deepcopy(vae).double()
        made = family(
            folder, copy.deepcopy(transformer).double(),
            # as SanaPipeline.__call__ does
            lambda denoiser, x, t: denoiser(
                x, encoder_hidden_states=hidden,
                encoder_attention_mask=told['encoder_attention_mask'],
                timestep=t * denoiser.config.timestep_scale,
                return_dict=False, attention_kwargs=None),
            noised=lambda x, noise, t: x + t.reshape(
                -1, 1, 1, 1).double() / 1000 * (noise - x),
            inputs=lambda images: double.encode(images).latent
            * double.config.scaling_factor,
            grids=[(16, 24)], condition_dir=str(tmp_path / 'prompts'), **cfg)
        made.is_text = lambda path: path.startswith('caption_') or \
            path.endswith(('attn2.to_k', 'attn2.to_v', 'attn2.norm_k'))
        stored(dict(made.teacher, taps=TAPS), {
            prompt: {name: value.float() for name, value in text.items()}
            for prompt, text in texts.items()}, build)
        return made

    return make


@pytest.fixture
def make(sana):
    return sana


class TestSana(PromptedFamily):
    taps = TAPS
    prompts = PROMPTS


@pytest.mark.slow
def test_all_paths(proof, sana):
    proof.all_paths(sana())


@pytest.mark.slow
def test_1_5(proof, sana):
    proof.all_paths(sana((PROMPTS[1], ) * 3, dict(
        qk_norm='rms_norm_across_heads', interpolation_scale=1),
        condition=dict(prompt=PROMPTS[1])))


@pytest.mark.slow
def test_switches(proof, sana):
    proof.switches(sana(), TAPS)


def test_sprint(proof, sana):
    family = sana(config=dict(guidance_embeds=False))
    path = family.folder / 'transformer' / 'config.json'
    path.write_text(json.dumps(dict(json.loads(path.read_text()),
                                    guidance_embeds=True)))
    with pytest.raises(ValueError, match='is a Sana-Sprint.*take a Sana'):
        proof.build(dict(family.teacher, taps=TAPS))


def test_of_a_newer_diffusers(build, tmp_path, monkeypatch):
    # a deleted one would be imported anew
    monkeypatch.setattr(diffusers, 'SanaTransformer2DModel', None,
                        raising=False)
    (tmp_path / 'transformer').mkdir()
    (tmp_path / 'transformer' / 'config.json').write_text(json.dumps(
        dict(_class_name='SanaTransformer2DModel')))
    with pytest.raises(ValueError, match='SanaTransformer2DModel, which '
                       f'diffusers {diffusers.__version__}.*does not have'):
        build(dict(type='repfusion_mm.DiffusionTeacher',
                   pretrained=str(tmp_path), taps=TAPS))

