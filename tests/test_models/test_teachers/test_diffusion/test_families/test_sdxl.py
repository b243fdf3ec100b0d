"""SDXL: two text encoders, a pooled text, and the image's size."""
import copy
import json

import pytest
import torch

TAPS = ['mid_block.attentions.0', 'up_blocks.0.resnets.1.conv2']


@pytest.fixture(scope='module')
def parts():
    from diffusers import EulerDiscreteScheduler, UNet2DConditionModel
    torch.manual_seed(4)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=20, attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2), use_linear_projection=True,
        addition_embed_type='text_time', addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=4 * 6 + 10,
        down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'),
        up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'))
    return unet.eval(), EulerDiscreteScheduler(
        beta_schedule='scaled_linear', beta_start=0.00085, beta_end=0.012)


@pytest.fixture
def sdxl(parts, family, save, tiny_vae, tmp_path, build):
    unet, scheduler = parts
    vae = tiny_vae(scaling_factor=0.13025)
    folder = save(tmp_path / 'sdxl', 'StableDiffusionXLPipeline', unet=unet,
                  vae=vae, scheduler=scheduler, index=dict(
                      force_zeros_for_empty_prompt=True))
    vae = copy.deepcopy(vae).double()

    # as StableDiffusionXLPipeline.__call__ does without a prompt
    def call(denoiser, x, t):
        return denoiser(
            x, t, encoder_hidden_states=torch.zeros(3, 77, 20).double(),
            timestep_cond=None, cross_attention_kwargs=None,
            added_cond_kwargs=dict(
                text_embeds=torch.zeros(3, 10).double(),
                time_ids=torch.tensor([[32, 48, 0, 0, 32, 48]] * 3).double()),
            return_dict=False)

    from diffusers import DDPMScheduler
    ddpm = DDPMScheduler.from_config(scheduler.config)
    made = family(
        folder, copy.deepcopy(unet).double(), call, noised=ddpm.add_noise,
        inputs=lambda images: vae.encode(images).latent_dist.mean * 0.13025,
        grids=[(8, 12), (4, 6)], condition_dir=str(tmp_path / 'prompts'))
    made.read_early = ('conv_in', )
    return made


def test_early_exit(proof, sdxl):
    proof.early_exit(sdxl, TAPS[:1])


@pytest.mark.slow
def test_all_paths(proof, sdxl):
    proof.all_paths(sdxl)


@pytest.mark.slow
def test_switches(proof, sdxl):
    proof.switches(sdxl, TAPS)


@pytest.mark.slow
def test_early_exit_of_every_path(proof, sdxl):
    proof.early_exit(sdxl, list(proof.wanted(sdxl)))


def test_refiner(sdxl, build):
    index = sdxl.folder / 'model_index.json'
    index.write_text(json.dumps(dict(
        json.loads(index.read_text()), requires_aesthetics_score=True)))
    with pytest.raises(ValueError, match='is a refiner'):
        build(sdxl.teacher)
