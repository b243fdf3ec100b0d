"""Denoisers of images through the one name."""
import copy

import pytest
import torch

TAPS = ['up_blocks.0', 'mid_block.attentions.0.to_k']


@pytest.fixture
def ddpm(family, save, tmp_path):
    from diffusers import DDPMScheduler, UNet2DModel

    def make(**config):
        torch.manual_seed(4)
        unet = UNet2DModel(
            sample_size=32, block_out_channels=(8, 16), layers_per_block=1,
            norm_num_groups=4, attention_head_dim=4,
            down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
            up_block_types=('AttnUpBlock2D', 'UpBlock2D'), **config).eval()
        scheduler = DDPMScheduler()
        folder = save(tmp_path / 'ddpm', 'DDPMPipeline', unet=unet,
                      scheduler=scheduler)
        classes = torch.tensor([2, 2, 2]) if config else None
        return family(
            folder, copy.deepcopy(unet).double(),
            lambda denoiser, x, t: denoiser(x, t, classes),
            noised=scheduler.add_noise, grids=[(32, 48), (16, 24)],
            **(dict(condition=dict(fixed=2)) if config else {}))

    return make


def test_early_exit(proof, ddpm):
    proof.early_exit(ddpm(), TAPS[:1])


def test_what_unet_teacher_gives(ddpm, build):
    family = ddpm()
    images, t = torch.rand(2, 3, 32, 32) * 255, torch.tensor([3, 700])
    ours, other = (build(dict(type=f'repfusion_mm.{name}', taps=TAPS,
                              pretrained=str(family.folder)))
                   for name in ('DiffusionTeacher', 'UNetTeacher'))
    for teacher in (ours, other):
        teacher.init_weights()
    ours, other = ours(images, t), other(images, t)
    assert torch.equal(ours[TAPS[0]], other[TAPS[0]])
    assert torch.equal(ours[TAPS[1]].flatten(2).transpose(1, 2),
                       other[TAPS[1]])


@pytest.mark.slow
@pytest.mark.parametrize('config', [{}, dict(num_class_embeds=5)])
def test_all_paths(proof, ddpm, config):
    proof.all_paths(ddpm(**config))


@pytest.mark.slow
def test_switches(proof, ddpm):
    proof.switches(ddpm(), TAPS)


@pytest.mark.slow
def test_early_exit_of_every_path(proof, ddpm):
    family = ddpm()
    proof.early_exit(family, list(proof.wanted(family)))
