"""Flux: packed latents, blocks of two streams and of one."""
import copy

import diffusers
import pytest
import torch
from packaging.version import Version

from tests.test_models.test_teachers.test_diffusion.test_families.prompted import (  # noqa: E501
    PromptedFamily,
)

PROMPTS = ('', 'a photo of a cat', 'a photo of a dog')
TAPS = ['transformer_blocks.1', 'single_transformer_blocks.1.norm']


@pytest.fixture
def flux(family, save, name_encoders, tiny_vae, tmp_path, build, stored):
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        FluxTransformer2DModel,
    )
    torch.manual_seed(4)

    def make(prompts=('', ) * 3, dev=False, **cfg):
        transformer = FluxTransformer2DModel(
            in_channels=20, num_layers=2, num_single_layers=3,
            attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=10, pooled_projection_dim=6,
            guidance_embeds=dev, axes_dims_rope=(2, 2, 4)).eval()
        vae = tiny_vae(5, shift_factor=0.1159, scaling_factor=0.3611)
        folder = save(tmp_path / 'flux', 'FluxPipeline',
                      transformer=transformer, vae=vae,
                      scheduler=FlowMatchEulerDiscreteScheduler())
        name_encoders(folder, '', '_2')
        length = 512 if dev else 256
        texts = {prompt: dict(
            encoder_hidden_states=torch.randn(1, length, 10),
            pooled_projections=torch.randn(1, 6)) for prompt in PROMPTS}
        told = {name: torch.cat([texts[prompt][name] for prompt in prompts]
                                ).double() for name in texts['']}
        double = copy.deepcopy(vae).double()
        ids = torch.tensor([[0, row, column] for row in range(4)
                            for column in range(6)]).double()

        nowhere = torch.zeros(length, 3).double()
        if Version(diffusers.__version__) < Version('0.31'):
            ids, nowhere = (one.repeat(3, 1, 1) for one in (ids, nowhere))

        def inputs(images):
            """As FluxImg2ImgPipeline.prepare_latents does."""
            z = (double.encode(images).latent_dist.mean
                 - double.config.shift_factor) * double.config.scaling_factor
            packed = z.new_empty(3, 24, 20)
            for row in range(4):
                for column in range(6):
                    packed[:, 6 * row + column] = z[
                        :, :, 2 * row:2 * row + 2,
                        2 * column:2 * column + 2].flatten(1)
            return packed

        def image_tokens(path, output):
            kind = path.rpartition('.')[0]
            if kind == 'transformer_blocks' or \
                    kind == 'single_transformer_blocks' and \
                    isinstance(output, tuple):
                output = output[1]
            if isinstance(output, tuple):
                output = output[0]
            if path.endswith(('norm_q', 'norm_k', 'norm_added_q',
                              'norm_added_k')):
                # heads are in front in diffusers 0.30
                output = (output if output.shape[2] == 2
                          else output.transpose(1, 2)).flatten(2)
            if path.startswith('single_') and output.dim() == 3 and \
                    output.shape[1] == length + 24:
                output = output[:, length:]
            return output

        made = family(
            folder, copy.deepcopy(transformer).double(),
            # as FluxPipeline.__call__ does
            lambda denoiser, x, t: denoiser(
                hidden_states=x, timestep=t.to(x) / 1000,
                guidance=torch.full([1], 3.5).expand(3) if dev else None,
                txt_ids=nowhere, img_ids=ids,
                joint_attention_kwargs=None, return_dict=False, **told),
            noised=lambda x, noise, t: x + t.reshape(-1, 1, 1).double() / 1000
            * (noise - x),
            inputs=inputs, image_tokens=image_tokens, grids=[(4, 6)],
            condition_dir=str(tmp_path / 'prompts'), **cfg)
        made.is_text = lambda path: not path.startswith('single_') and any(
            name in path for name in (
                'context', 'add_q_proj', 'add_k_proj', 'add_v_proj',
                'norm_added', 'to_add_out'))
        stored(dict(made.teacher, taps=TAPS), texts, build)
        return made

    return make


@pytest.fixture
def make(flux):
    return flux


class TestFlux(PromptedFamily):
    taps = TAPS
    prompts = PROMPTS


def test_schnell(proof, flux):
    paths = proof.all_paths(flux())
    assert {'transformer_blocks.0.norm1', 'single_transformer_blocks.0.norm',
            'single_transformer_blocks.2',
            'single_transformer_blocks.0.attn.norm_q'} <= set(paths)


@pytest.mark.slow
def test_dev(proof, flux):
    proof.all_paths(flux((PROMPTS[1], ) * 3, dev=True,
                         condition=dict(prompt=PROMPTS[1])))


@pytest.mark.slow
def test_switches(proof, flux):
    proof.switches(flux(dev=True), TAPS)


def test_sizes(proof, flux):
    family = flux()
    teacher = proof.build(dict(family.teacher, image_size=None, taps=TAPS))
    assert teacher.image_size == (512, 512)  # 128 latents of 4 pixels
    assert teacher.source.input_shape == (64 * 64, 20)
    assert teacher.feature_shapes[TAPS[1]] == (16, 64, 64)


def test_of_more_than_an_image(proof, flux, tiny_vae, tmp_path):
    family = flux()
    tiny_vae(3).save_pretrained(tmp_path / 'flux' / 'vae')
    with pytest.raises(ValueError, match='latents of 5 channels.*have 3'):
        proof.build(dict(family.teacher, taps=TAPS))

