"""What a time step means in each family of diffusion models."""
from typing import Dict, List, NamedTuple, Sequence

import torch

from repfusion_mm.models.teachers.diffusion.processes import (
    DDPMProcess,
    EDMProcess,
    FlowProcess,
    ForwardProcess,
)


class NoiseLevel(NamedTuple):
    """A time step.

    Attributes:
        t (int): Its number.
        told (float): What the denoiser is told for it.
        signal (float): Factor of the image in x(t).
        sigma (float): Factor of the noise in it.
        snr (float): Square of their quotient, for data of variance 1.
    """
    t: int
    told: float
    signal: float
    sigma: float
    snr: float


def noise_levels(process: ForwardProcess,
                 timesteps: Sequence[int]) -> List[NoiseLevel]:
    """What some time steps mean.

    Args:
        process (ForwardProcess): Of a family, a teacher's
            ``source.process``.
        timesteps (Sequence[int]): The t.

    Returns:
        list[NoiseLevel]: One for each.
    """
    t = torch.tensor(list(timesteps))
    signal, sigma = process.coefficients(t)
    told = process.told(t).double()
    return [NoiseLevel(*values) for values in zip(
        t.tolist(), told.tolist(), signal.tolist(), sigma.tolist(),
        (signal / sigma).square().tolist())]


def published_processes() -> Dict[str, ForwardProcess]:
    """The forward processes of the families, with their released settings.

    Returns:
        dict[str, ForwardProcess]: By the name of the family.
    """
    from diffusers import DDPMScheduler
    scaled = dict(beta_schedule='scaled_linear')
    return {
        'DDPM, linear betas': DDPMProcess(DDPMScheduler()),
        'guided diffusion 64x64, cosine': DDPMProcess(DDPMScheduler(
            4000, beta_schedule='squaredcos_cap_v2'), 0.25),
        'Stable Diffusion 1, 2, XL, PixArt-alpha': DDPMProcess(DDPMScheduler(
            beta_start=0.00085, beta_end=0.012, **scaled)),
        'latent diffusion of faces': DDPMProcess(DDPMScheduler(
            beta_start=0.0015, beta_end=0.0195, **scaled)),
        'consistency models': EDMProcess(0.002, 80., log_scale=250.),
        'Stable Diffusion 3': FlowProcess(),
        'Flux': FlowProcess(1e-3)}


def as_table(timesteps: Sequence[float] = (0.05, 0.1, 0.26, 0.5, 0.9)
             ) -> str:
    """All of them side by side.

    Args:
        timesteps (Sequence[float]): As shares of each family's number.

    Returns:
        str: A table in Markdown.
    """
    lines = ['| family | t | told | signal | sigma | SNR |',
             '|---|---|---|---|---|---|']
    for name, process in published_processes().items():
        for level in noise_levels(process, [
                round(share * process.num_timesteps)
                for share in timesteps]):
            lines.append(f'| {name} | {level.t} | {level.told:.4g} | '
                         f'{level.signal:.4f} | {level.sigma:.4f} | '
                         f'{level.snr:.4g} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    print(as_table())
