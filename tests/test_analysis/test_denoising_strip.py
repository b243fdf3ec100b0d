"""repfusion_mm/analysis/denoising_strip.py"""
import numpy as np
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler

from repfusion_mm.analysis.denoising_strip import as_pixels, denoising_strip


def test_ends_where_the_pipeline_does(unet):
    scheduler = DDPMScheduler()
    strip = denoising_strip(unet, scheduler, 2, steps=5, frames=3, seed=4)
    assert [frame.t for frame in strip] == [800, 400, 0]
    noise = torch.randn(2, 3, 16, 16,
                        generator=torch.Generator().manual_seed(4))
    np.testing.assert_array_equal(strip[0].noisy, as_pixels(noise))
    pipeline = DDIMPipeline(unet, DDIMScheduler.from_config(scheduler.config))
    pipeline.set_progress_bar_config(disable=True)
    wanted = pipeline(2, num_inference_steps=5, output_type='np',
                      generator=torch.Generator().manual_seed(4)).images
    # the last prediction is the image
    assert np.abs(strip[-1].predicted - 255 * wanted).max() < 1
    assert np.abs(strip[0].predicted - 255. * wanted).max() > 5


def test_grey_as_pixels():
    found = as_pixels(torch.tensor([-1.5, -1, 0, 1]).view(1, 1, 2, 2))
    assert found.dtype == np.uint8 and found.shape == (1, 2, 2, 3)
    assert (found == np.array([[0, 0], [128, 255]])[None, ..., None]).all()
