import math

import pytest
import torch

from repfusion_mm.analysis.noise_levels import (
    as_table,
    noise_levels,
    published_processes,
)


def test_docs(root):
    assert as_table() in (root / 'docs/teachers.md').read_text()


@pytest.mark.parametrize('name', list(published_processes()))
def test_one_meaning(name):
    """The signal-to-noise ratio falls, and is that of what is seen."""
    process = published_processes()[name]
    levels = noise_levels(process, range(1, process.num_timesteps))
    snr = [level.snr for level in levels]
    assert all(one > two for one, two in zip(snr, snr[1:]))
    t = torch.tensor([process.num_timesteps // 3])
    clean, noise = torch.randn(2, 1, 3, 200, 200, dtype=torch.float64)
    seen = process.add_noise(clean, noise, t)
    level, = noise_levels(process, t.tolist())
    torch.testing.assert_close(
        seen, level.signal * clean + level.sigma * noise, rtol=1e-5,
        atol=1e-5)
    assert math.isclose(level.snr, (level.signal / level.sigma)**2)


def test_by_hand():
    ddpm, _, sd, _, edm, sd3, flux = published_processes().values()
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept = (1 - betas)[:501].prod()
    level, = noise_levels(ddpm, [500])
    assert math.isclose(level.signal, kept.sqrt(), rel_tol=1e-5)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000,
                           dtype=torch.float64)**2
    kept = (1 - betas)[:262].prod()
    level, = noise_levels(sd, [261])
    assert math.isclose(level.snr, kept / (1 - kept), rel_tol=1e-4)
    level, = noise_levels(edm, [0])
    assert math.isclose(level.told, 250 * math.log(0.002), rel_tol=1e-6)
    for process, told in ((sd3, 260), (flux, 0.26)):
        level, = noise_levels(process, [260])
        assert math.isclose(level.told, told, rel_tol=1e-6)
        assert math.isclose(level.snr, (0.74 / 0.26)**2)
