"""Latent diffusion without text, of a VQ-VAE's latents."""
import copy
import json
import shutil

import pytest
import torch

TAPS = ['up_blocks.0', 'up_blocks.0.attentions.0.to_v']


@pytest.fixture
def ldm(family, save, tmp_path):
    from diffusers import DDIMScheduler, UNet2DModel, VQModel
    torch.manual_seed(4)
    unet = UNet2DModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, attention_head_dim=4,
        down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
        up_block_types=('AttnUpBlock2D', 'UpBlock2D')).eval()
    vqvae = VQModel(
        block_out_channels=(8, 8, 8), norm_num_groups=4, latent_channels=3,
        num_vq_embeddings=16, down_block_types=('DownEncoderBlock2D', ) * 3,
        up_block_types=('UpDecoderBlock2D', ) * 3).eval()
    scheduler = DDIMScheduler(beta_schedule='scaled_linear')
    folder = save(tmp_path / 'ldm', 'LDMPipeline', unet=unet, vqvae=vqvae,
                  scheduler=scheduler)
    encoder = copy.deepcopy(vqvae).double()
    return family(
        folder, copy.deepcopy(unet).double(),
        # as LDMPipeline.__call__ does
        lambda denoiser, x, t: denoiser(x, t), noised=scheduler.add_noise,
        # the inverse of what LDMPipeline does before it decodes
        inputs=lambda images: encoder.encode(images).latents
        * vqvae.config.scaling_factor,
        grids=[(8, 12), (4, 6)])


def test_early_exit(proof, ldm):
    proof.early_exit(ldm, TAPS[:1])


@pytest.mark.slow
def test_all_paths(proof, ldm):
    proof.all_paths(ldm)


@pytest.mark.slow
def test_switches(proof, ldm):
    proof.switches(ldm, TAPS)


@pytest.mark.slow
def test_early_exit_of_every_path(proof, ldm):
    proof.early_exit(ldm, list(proof.wanted(ldm)))


def test_without_the_autoencoder(ldm, build, tmp_path):
    """It could not be told from a denoiser of images; the index says it."""
    shutil.rmtree(tmp_path / 'ldm' / 'vqvae')
    with pytest.raises(FileNotFoundError, match='vqvae/config.json. is not'):
        build(ldm.teacher)
    path = tmp_path / 'ldm' / 'model_index.json'
    index = json.loads(path.read_text())
    del index['vqvae']
    path.write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match='no autoencoder'):
        build(ldm.teacher)
