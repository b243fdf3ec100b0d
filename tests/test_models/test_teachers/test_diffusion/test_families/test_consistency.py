"""Consistency models: a U-Net of images that is told a sigma."""
import copy

import pytest
import torch

TAPS = ['up_blocks.0', 'mid_block.attentions.0.to_k']


def sigmas_of(t):
    """EDM's schedule, from the paper: 1,000 of its steps."""
    low, high = 0.002**(1 / 7), 80.**(1 / 7)
    return (low + t.double() / 999 * (high - low))**7


@pytest.fixture
def consistency(family, save, tmp_path):
    from diffusers import CMStochasticIterativeScheduler, UNet2DModel

    def make(**config):
        torch.manual_seed(4)
        unet = UNet2DModel(
            sample_size=32, block_out_channels=(8, 16), layers_per_block=1,
            norm_num_groups=4, attention_head_dim=4,
            resnet_time_scale_shift='scale_shift',
            down_block_types=('ResnetDownsampleBlock2D', 'AttnDownBlock2D'),
            up_block_types=('AttnUpBlock2D', 'ResnetUpsampleBlock2D'),
            **config).eval()
        scheduler = CMStochasticIterativeScheduler()
        folder = save(tmp_path / 'cm', 'ConsistencyModelPipeline', unet=unet,
                      scheduler=scheduler)
        classes = torch.tensor([2, 2, 2]) if config else None

        # as ConsistencyModelPipeline.__call__ does
        def call(denoiser, x, t):
            told = torch.from_numpy(
                scheduler.sigma_to_t(sigmas_of(t).numpy()))
            return denoiser(x, told, class_labels=classes, return_dict=False)

        def scaled(x, t):
            inputs = []
            for one, sigma in zip(x, sigmas_of(t)):
                scheduler.set_timesteps(1)
                scheduler.sigmas = sigma[None]
                inputs.append(scheduler.scale_model_input(
                    one, scheduler.timesteps[0]))
            return torch.stack(inputs)

        return family(
            folder, copy.deepcopy(unet).double(), call,
            noised=lambda x, noise, t: x
            + sigmas_of(t).view(-1, 1, 1, 1) * noise,
            scaled=scaled, grids=[(32, 48), (16, 24)],
            **(dict(condition=dict(fixed=2)) if config else {}))

    return make


def test_early_exit(proof, consistency):
    proof.early_exit(consistency(), TAPS[:1])


@pytest.mark.slow
@pytest.mark.parametrize('config', [{}, dict(num_class_embeds=5)])
def test_all_paths(proof, consistency, config):
    proof.all_paths(consistency(**config))


@pytest.mark.slow
def test_switches(proof, consistency):
    proof.switches(consistency(), TAPS)


@pytest.mark.slow
def test_early_exit_of_every_path(proof, consistency):
    family = consistency()
    proof.early_exit(family, list(proof.wanted(family)))


def test_range(consistency, build):
    process = build(consistency().teacher).source.process
    signal, sigma = process.coefficients(torch.arange(1000))
    torch.testing.assert_close(sigma[[0, 999]],
                               torch.tensor([0.002, 80.]).double())
    assert (sigma.diff() > 0).all() and (signal == 1).all()
