"""Stable Diffusion 3: two streams, flow matching."""
import copy

import pytest
import torch

from tests.test_models.test_teachers.test_diffusion.test_families.prompted import (  # noqa: E501
    PromptedFamily,
)

PROMPTS = ('', 'a photo of a cat', 'a photo of a dog')
TAPS = ['transformer_blocks.0', 'transformer_blocks.1.norm1']
LENGTH = 77 + 256


def text_of_a_joint_block(path):
    """Whether a module of a block of two streams is the text's."""
    return any(name in path for name in (
        'context', 'add_q_proj', 'add_k_proj', 'add_v_proj', 'norm_added',
        'to_add_out'))


@pytest.fixture
def sd3(family, save, name_encoders, tiny_vae, tmp_path, build, stored):
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
    )
    torch.manual_seed(4)

    def make(prompts=('', ) * 3, encoders=('', '_2', '_3'), config=None,
             **cfg):
        transformer = SD3Transformer2DModel(**dict(dict(
            sample_size=16, in_channels=7, num_layers=3, attention_head_dim=6,
            num_attention_heads=2, joint_attention_dim=10,
            caption_projection_dim=12, pooled_projection_dim=8,
            out_channels=7, pos_embed_max_size=12), **(config or {}))).eval()
        vae = tiny_vae(7, shift_factor=0.06, scaling_factor=1.53)
        folder = save(tmp_path / 'sd3', 'StableDiffusion3Pipeline',
                      transformer=transformer, vae=vae,
                      scheduler=FlowMatchEulerDiscreteScheduler(shift=3.))
        name_encoders(folder, *encoders)
        texts = {prompt: dict(
            encoder_hidden_states=torch.randn(1, LENGTH, 10),
            pooled_projections=torch.randn(1, 8)) for prompt in PROMPTS}
        told = {name: torch.cat([texts[prompt][name] for prompt in prompts]
                                ).double() for name in texts['']}
        double = copy.deepcopy(vae).double()
        made = family(
            folder, copy.deepcopy(transformer).double(),
            # as StableDiffusion3Pipeline.__call__ does
            lambda denoiser, x, t: denoiser(
                hidden_states=x, timestep=t, joint_attention_kwargs=None,
                return_dict=False, **told),
            noised=flow,
            # as StableDiffusion3Img2ImgPipeline.prepare_latents does
            inputs=lambda images: (
                double.encode(images).latent_dist.mean
                - double.config.shift_factor) * double.config.scaling_factor,
            image_tokens=image_tokens,
            grids=[(4, 6)], condition_dir=str(tmp_path / 'prompts'), **cfg)
        made.is_text = text_of_a_joint_block
        stored(dict(made.teacher, taps=TAPS), texts, build)
        return made

    return make


@pytest.fixture
def make(sd3):
    return sd3


class TestSD3(PromptedFamily):
    taps = TAPS
    prompts = PROMPTS


def flow(inputs, noise, t):
    """Of diffusers' ``scale_noise``, in float64."""
    sigma = t.double().reshape(-1, *[1] * (inputs.dim() - 1)) / 1000
    return sigma * noise + (1 - sigma) * inputs


def image_tokens(path, output):
    if path.rpartition('.')[0] == 'transformer_blocks':
        assert output[0] is None or output[0].shape[1] == LENGTH
        output = output[1]
    if path.endswith(('norm_q', 'norm_k', 'norm_added_q', 'norm_added_k')):
        output = output.transpose(1, 2).flatten(2)  # heads are in front
    return output


def test_all_paths(proof, sd3):
    paths = proof.all_paths(sd3())
    assert 'transformer_blocks.2' in paths  # whose text is None


@pytest.mark.slow
def test_3_5(proof, sd3):
    """A second attention, of the image alone, and norms of the queries."""
    paths = proof.all_paths(sd3(config=dict(
        qk_norm='rms_norm', dual_attention_layers=(0, 1))))
    assert 'transformer_blocks.0.attn2.norm_q' in paths


@pytest.mark.slow
def test_without_t5(proof, sd3):
    family = sd3((PROMPTS[1], ) * 3, ('', '_2'),
                 condition=dict(prompt=PROMPTS[1]))
    proof.all_paths(family)


def test_switches(proof, sd3):
    proof.switches(sd3(), TAPS)


def test_early_exit(proof, sd3):
    proof.early_exit(sd3(), TAPS)


def test_sizes(proof, sd3):
    family = sd3()
    with pytest.raises(ValueError, match='places for 12 tokens a side; '
                       'nearest: 96'):
        proof.build(dict(family.teacher, image_size=104, taps=TAPS))


@pytest.mark.parametrize('shift', [1., 3.])
def test_time(shift):
    """t / 1000 is the sigma of the scheduler's step that is told t."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from repfusion_mm.models.teachers.diffusion.processes import FlowProcess
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    signal, sigma = FlowProcess().coefficients(scheduler.timesteps)
    torch.testing.assert_close(sigma, scheduler.sigmas[:1000].double(),
                               rtol=1e-5, atol=1e-6)
    inputs, noise = torch.randn(2, 1000, 2).double().unbind()
    torch.testing.assert_close(
        FlowProcess().add_noise(inputs, noise, scheduler.timesteps),
        scheduler.scale_noise(inputs, scheduler.timesteps, noise),
        rtol=1e-5, atol=1e-5)

