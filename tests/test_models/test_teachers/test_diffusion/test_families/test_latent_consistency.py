"""Latent consistency models are told the scale of the guidance."""
import copy

import pytest
import torch


@pytest.fixture
def lcm(family, save, tiny_vae, tmp_path, build, stored):
    from diffusers import LCMScheduler, UNet2DConditionModel
    torch.manual_seed(4)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=12, attention_head_dim=4,
        time_cond_proj_dim=16,
        down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D')).eval()
    vae, scheduler = tiny_vae(), LCMScheduler()
    folder = save(tmp_path / 'lcm', 'LatentConsistencyModelPipeline',
                  unet=unet, vae=vae, scheduler=scheduler)
    for name in ('text_encoder', 'tokenizer'):
        (folder / name).mkdir()
        (folder / name / 'config.json').write_text('{}')
    vae, text = copy.deepcopy(vae).double(), torch.randn(1, 77, 12)
    # LatentConsistencyModelPipeline.get_guidance_scale_embedding, at its
    # default guidance, by hand
    rates = 10000**(-torch.arange(8, dtype=torch.float64) / 7)
    told = torch.cat([(7500 * rates).sin(), (7500 * rates).cos()])
    made = family(
        folder, copy.deepcopy(unet).double(),
        lambda denoiser, x, t: denoiser(
            x, t, timestep_cond=told.expand(3, -1),
            encoder_hidden_states=text.double().expand(3, -1, -1),
            return_dict=False),
        noised=scheduler.add_noise,
        inputs=lambda images: vae.encode(images).latent_dist.mean * 0.18215,
        grids=[(8, 12), (4, 6)], condition_dir=str(tmp_path / 'prompts'))
    stored(made.teacher, {'': dict(encoder_hidden_states=text)}, build)
    return made


def test_embedding_of_the_guidance(proof, lcm):
    """Its angles are large, and their sines those of float32."""
    teacher = proof.teacher(lcm, ['time_embedding.cond_proj'])
    wanted = proof.wanted(lcm)
    found = teacher(proof.images.double(), proof.t)
    proof.same(lcm, found, wanted, 1e-3, 1e-3)


@pytest.mark.slow
def test_all_paths(proof, lcm, monkeypatch):
    from repfusion_mm.models.teachers.diffusion.sources import (
        stable_diffusion,
    )
    paths = proof.wanted(lcm)
    # the one thing that differs, exactly: it is compared above
    rates = 10000**(-torch.arange(8, dtype=torch.float64) / 7)
    told = torch.cat([(7500 * rates).sin(), (7500 * rates).cos()])
    monkeypatch.setattr(stable_diffusion, 'guidance_embedding',
                        lambda guidance, width, t: told.to(t.device).expand(
                            len(t), width))
    assert len(proof.all_paths(lcm)) == len(paths)
