"""Draw images from a diffusion model, and show how they come about.

<out>.png is a grid of samples. <out>_strip.png shows some of them on the way
from noise to image: x(t), and below it what the denoiser takes the image to
be at that t. Both are sampled by DDIM, the same each time.
"""
import argparse

import cv2
import mmengine
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from rich.console import Console
from rich.table import Table

from repfusion_mm.analysis.denoising_strip import denoising_strip
from repfusion_mm.analysis.figures import image_rows, new_figure, save_figure
from repfusion_mm.analysis.tool_options import add_device, chosen_device
from repfusion_mm.arguments.options import count
from repfusion_mm.models.dpm import DPM
from repfusion_mm.models.dpm.sample_grid import sample_grid
from repfusion_mm.models.teachers.diffusion.sources.unet2d import (
    DiffusersFolder,
)
from repfusion_mm.registry import MODELS


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'model', help='diffusers folder or hub id of a diffusion model of '
        'images, such as configs/demo/dpm_digits, or a config of configs/dpm '
        'with its --checkpoint')
    add_device(parser)
    parser.add_argument('--checkpoint', help='of a training of the config; '
                        'averaged weights are taken, if there are any')
    parser.add_argument('--samples', type=count, default=64,
                        help='images in the grid (default: %(default)s)')
    parser.add_argument('--strip', type=count, default=4,
                        help='images in the strip (default: %(default)s)')
    parser.add_argument('--frames', type=count, default=9,
                        help='time steps in the strip (default: %(default)s)')
    parser.add_argument('--steps', type=count, default=50,
                        help='of DDIM (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0,
                        help='of the strip\'s noise (default: %(default)s)')
    parser.add_argument('--out', default='work_dirs/sample_dpm/samples',
                        help='write <out>.png, <out>_strip.png and '
                        '<out>.json (default: %(default)s)')
    args = parser.parse_args(argv)
    if args.model.endswith('.py') != bool(args.checkpoint):
        parser.error('a config takes the --checkpoint of its training, and '
                     'a folder none')
    return args


def main(argv=None):
    args = parse_args(argv)
    denoiser, scheduler = read_model(args.model, args.checkpoint)
    most = scheduler.config.num_train_timesteps
    if args.steps > most:
        raise SystemExit(f'--steps {args.steps}: this model has {most} time '
                         'steps')
    if denoiser.config.num_class_embeds or denoiser.config.class_embed_type:
        raise SystemExit(f'{args.model} is class-conditional: which classes '
                         'are to be drawn cannot be said here')
    denoiser.eval().to(chosen_device(args.device))
    with Console().status('denoising'):
        strip = denoising_strip(denoiser, scheduler, args.strip, args.steps,
                                min(args.frames, args.steps), args.seed)
        grid = sample_grid(denoiser, scheduler, args.samples, args.steps)
    final = strip[-1].predicted.astype(float)
    rows = [dict(t=frame.t, spread=float(frame.noisy.std()), to_final=float(
        np.sqrt(np.square(frame.predicted - final).mean())))
        for frame in strip]
    mmengine.dump(dict(model=args.model, steps=args.steps, strip=rows),
                  args.out + '.json')
    cv2.imwrite(args.out + '.png', grid[..., ::-1])
    plot(strip, args.out + '_strip.png')
    return rows


def read_model(name, checkpoint):
    """The denoiser and its noise schedule, from a folder or a training."""
    if not checkpoint:
        folder = DiffusersFolder(name, None)
        return folder.read(), folder.scheduler
    cfg = Config.fromfile(name)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model = MODELS.build(cfg.model)
    if not isinstance(model, DPM):
        raise SystemExit(f'{name}: `model.type` is {cfg.model.type!r}, '
                         'expected a diffusion model, repfusion_mm.DPM')
    load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    return model.denoiser, model.scheduler


def plot(strip, path):
    """For each image x(t), and below it what it is taken to be."""
    rows = [images for number in range(len(strip[0].noisy)) for images in (
        [frame.noisy[number] for frame in strip],
        [frame.predicted[number] for frame in strip])]
    figure = new_figure(0.9 * len(strip) + 0.6, 0.9 * len(rows) + 0.3)
    image_rows(figure, rows, [f't = {frame.t}' for frame in strip],
               ['x(t)', 'predicted'] * (len(rows) // 2))
    save_figure(figure, path, 120)


def print_table(rows):
    """The strip in numbers."""
    table = Table('t', 'spread of x(t), levels',
                  'prediction from the last, levels')
    for row in rows:
        table.add_row(str(row['t']), f'{row["spread"]:.1f}',
                      f'{row["to_final"]:.1f}')
    Console().print(table)


if __name__ == '__main__':
    print_table(main())
