"""Stable Diffusion 1 and 2: a U-Net of latents that is told a text."""
import copy

import pytest
import torch

PROMPTS = ('', 'a photo of a cat', 'a photo of a dog')


@pytest.fixture(scope='module')
def parts():
    from diffusers import DDIMScheduler, UNet2DConditionModel
    torch.manual_seed(4)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=12, attention_head_dim=4,
        down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'))
    scheduler = DDIMScheduler(
        beta_schedule='scaled_linear', beta_start=0.00085, beta_end=0.012,
        clip_sample=False, steps_offset=1, prediction_type='v_prediction')
    return unet.eval(), scheduler


@pytest.fixture
def sd(parts, family, save, tiny_vae, tmp_path, build, stored):
    unet, scheduler = parts
    vae = tiny_vae()
    folder = save(tmp_path / 'sd', 'StableDiffusionPipeline', unet=unet,
                  vae=vae, scheduler=scheduler, index=dict(
                      text_encoder=['transformers', 'CLIPTextModel'],
                      tokenizer=['transformers', 'CLIPTokenizer']))
    for name in ('text_encoder', 'tokenizer'):
        (folder / name).mkdir()
        (folder / name / 'config.json').write_text('{}')
    torch.manual_seed(9)
    texts = {prompt: torch.randn(1, 77, 12) for prompt in PROMPTS}
    vae = copy.deepcopy(vae).double()

    def make(prompts=('', ) * 3, **cfg):
        told = torch.cat([texts[prompt] for prompt in prompts]).double()
        made = family(
            folder, copy.deepcopy(unet).double(),
            # as StableDiffusionPipeline.__call__ does
            lambda denoiser, x, t: denoiser(
                x, t, encoder_hidden_states=told, timestep_cond=None,
                cross_attention_kwargs=None, added_cond_kwargs=None,
                return_dict=False),
            noised=scheduler.add_noise,
            # as StableDiffusionImg2ImgPipeline.prepare_latents does
            inputs=lambda images: vae.encode(images).latent_dist.mean
            * vae.config.scaling_factor,
            grids=[(8, 12), (4, 6)],
            condition_dir=str(tmp_path / 'prompts'), **cfg)
        stored(made.teacher, {prompt: dict(encoder_hidden_states=text)
                              for prompt, text in texts.items()}, build)
        return made

    return make


TAPS = ['up_blocks.0', 'up_blocks.1.attentions.0.transformer_blocks.0'
        '.attn1.to_q']


def test_all_paths(proof, sd):
    proof.all_paths(sd())


@pytest.mark.slow
def test_prompt(proof, sd):
    proof.all_paths(sd((PROMPTS[1], ) * 3, condition=dict(prompt=PROMPTS[1])))


def test_class_names(proof, sd):
    proof.labels = torch.tensor([0, 1, -1])
    family = sd((PROMPTS[1], PROMPTS[2], ''),
                condition=dict(class_names=['cat', 'dog']))
    proof.all_paths(family)


def test_early_exit(proof, sd):
    proof.early_exit(sd(), TAPS)


@pytest.mark.slow
def test_switches(proof, sd):
    proof.switches(sd(), TAPS)


@pytest.mark.slow
def test_early_exit_of_every_path(proof, sd):
    family = sd()
    proof.early_exit(family, list(proof.wanted(family)))
