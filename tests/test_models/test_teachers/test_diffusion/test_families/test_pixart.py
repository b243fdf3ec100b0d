"""PixArt-alpha and -sigma: transformers of latents told a text by T5."""
import copy

import pytest
import torch

from tests.test_models.test_teachers.test_diffusion.test_families.prompted import (  # noqa: E501
    PromptedFamily,
)

PROMPTS = ('', 'a photo of a cat', 'a photo of a dog')
TAPS = ['transformer_blocks.0', 'transformer_blocks.1.attn1.to_k']
LENGTHS = dict(PixArtAlphaPipeline=120, PixArtSigmaPipeline=300)


@pytest.fixture
def pixart(family, save, name_encoders, tiny_vae, tmp_path, build, stored):
    from diffusers import DPMSolverMultistepScheduler, PixArtTransformer2DModel
    torch.manual_seed(4)

    def make(prompts=('', ) * 3, pipeline='PixArtAlphaPipeline', native=128,
             **cfg):
        transformer = PixArtTransformer2DModel(
            num_attention_heads=2, attention_head_dim=6, num_layers=3,
            cross_attention_dim=12, sample_size=native,
            caption_channels=10).eval()
        # as the published ones: their tables are small
        scheduler = DPMSolverMultistepScheduler(
            beta_start=0.0001, beta_end=0.02)
        vae = tiny_vae()
        folder = save(tmp_path / 'pixart', pipeline, transformer=transformer,
                      vae=vae, scheduler=scheduler)
        name_encoders(folder, '')
        length = LENGTHS[pipeline]
        texts = {prompt: dict(
            encoder_hidden_states=torch.randn(1, length, 10),
            encoder_attention_mask=(
                torch.arange(length)[None] < 1 + 4 * place).long())
            for place, prompt in enumerate(PROMPTS)}
        told = {name: torch.cat([texts[prompt][name] for prompt in prompts])
                for name in texts['']}
        hidden = told['encoder_hidden_states'].double()
        size = dict(resolution=None, aspect_ratio=None)
        if native == 128:
            size = dict(resolution=torch.tensor([32., 48.]).repeat(3, 1),
                        aspect_ratio=torch.tensor([32 / 48]).repeat(3, 1))
            size = {name: value.double() for name, value in size.items()}
            size['aspect_ratio'][:] = 32 / 48
        double = copy.deepcopy(vae).double()
        made = family(
            folder, copy.deepcopy(transformer).double(),
            # as the pipelines' __call__ does
            lambda denoiser, x, t: denoiser(
                x, encoder_hidden_states=hidden,
                encoder_attention_mask=told['encoder_attention_mask'],
                timestep=t, added_cond_kwargs=size, return_dict=False),
            noised=scheduler_noise(scheduler),
            inputs=lambda images: double.encode(images).latent_dist.mean
            * double.config.scaling_factor,
            grids=[(4, 6)], condition_dir=str(tmp_path / 'prompts'), **cfg)
        made.is_text = lambda path: path.startswith('caption_projection') or \
            path.endswith(('attn2.to_k', 'attn2.to_v'))
        stored(dict(made.teacher, taps=TAPS), {
            prompt: {name: value.float() for name, value in text.items()}
            for prompt, text in texts.items()}, build)
        return made

    return make


@pytest.fixture
def make(pixart):
    return pixart


class TestPixArt(PromptedFamily):
    taps = TAPS
    prompts = PROMPTS


def scheduler_noise(scheduler):
    """DDPM's, of the same betas: the solver's wants its own steps."""
    from diffusers import DDPMScheduler
    return DDPMScheduler.from_config(scheduler.config).add_noise


def test_alpha(proof, pixart):
    family = pixart()
    assert family.denoiser.use_additional_conditions
    proof.all_paths(family)


@pytest.mark.slow
def test_alpha_of_fewer_pixels(proof, pixart):
    family = pixart(native=64)
    assert not family.denoiser.use_additional_conditions
    proof.all_paths(family)


@pytest.mark.slow
def test_sigma(proof, pixart):
    proof.all_paths(pixart(
        (PROMPTS[1], ) * 3, 'PixArtSigmaPipeline', 16,
        condition=dict(prompt=PROMPTS[1])))


@pytest.mark.slow
def test_switches(proof, pixart):
    proof.switches(pixart(), TAPS)

