"""Singular values and effective rank of a diffusion model's features, over t.

How many directions z(t) uses to tell images apart: RankMe, the exponential of
the entropy of the singular values' shares, of the pooled features as they are
and minus their mean. No labels are read. The images are dealt into --draws
parts, whose spread is given.
"""
import argparse

import mmengine
from mmengine.runner import set_random_seed
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from repfusion_mm.analysis.feature_spectrum import spectra_over_time
from repfusion_mm.analysis.figures import new_figure, save_figure
from repfusion_mm.analysis.studied import (
    study_images,
    study_teacher,
    study_times,
)
from repfusion_mm.analysis.tool_options import (
    add_config,
    add_images,
    add_taps,
    chosen_device,
    read_config,
)
from repfusion_mm.arguments.options import count


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser, 'config with a `teacher` or a `model.teacher`, and '
               'dataloaders, such as configs/demo/probe_digits.py')
    add_taps(parser)
    add_images(parser)
    parser.add_argument('--images', type=count, default=1536,
                        help='images in all (default: %(default)s)')
    parser.add_argument('--draws', type=count, default=3,
                        help='parts of the images (default: %(default)s)')
    parser.add_argument('--out', help='write <out>.json with the numbers and '
                        '<out>.png with the curves')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    cfg = read_config(args)
    set_random_seed(args.seed)
    device = chosen_device(args.device)
    teacher = study_teacher(cfg, args.taps, device)
    times = study_times(cfg, teacher, args.timesteps)
    images = study_images(
        cfg, args.split, args.images,
        progress=lambda them: track(them, 'reading images', transient=True))
    rows = spectra_over_time(
        teacher, images.looked, times, args.draws, device,
        lambda ts: track(ts, 'z(t)', transient=True))
    if args.out:
        mmengine.dump(rows, args.out + '.json')
        plot(rows, args.out + '.png')
    return rows


def plot(rows, path):
    """Both ranks over t at each tap, and the spectra at the last one."""
    from matplotlib import colormaps
    figure = new_figure(12, 3.8)
    *ranks, spectra = figure.subplots(1, 3)
    taps = list(dict.fromkeys(row['tap'] for row in rows))
    for axes, key, label in zip(ranks, ('rank', 'centred_rank'), (
            'RankMe', 'RankMe, minus the mean')):
        for tap in taps:
            own = [row for row in rows if row['tap'] == tap]
            axes.errorbar([row['t'] for row in own],
                          [row[key] for row in own],
                          [row[f'{key}_std'] or 0 for row in own], marker='.',
                          capsize=2,
                          label=f'{tap}, {own[0]["channels"]} channels')
        axes.set(xlabel='time step t', ylim=(0, None),
                 ylabel=f'{label}, {rows[0]["images"]} images')
    figure.legend(*ranks[0].get_legend_handles_labels(), fontsize='x-small',
                  loc='outside lower left', ncols=4)
    for row in own:
        spectra.semilogy(range(1, 1 + len(row['singular_values'])),
                         row['singular_values'], linewidth=1,
                         color=colormaps['viridis'](row['t'] / max(
                             own[-1]['t'], 1)), label=f't = {row["t"]}')
    spectra.set(xlabel='singular value, minus the mean',
                ylabel='share of their sum', title=tap, ylim=(1e-4, 1))
    spectra.legend(fontsize='xx-small', ncols=2)
    save_figure(figure, path, 110)


def print_table(rows):
    """The ranks in the terminal."""
    table = Table(
        Column('tap', no_wrap=True), 't', 'rank', 'rank minus the mean',
        'largest share', title=f'RankMe of {rows[0]["images"]} images, of at '
        f'most {rows[0]["channels"]} at the first tap')
    for row in rows:
        table.add_row(row['tap'], str(row['t']), *(
            f'{row[key]:.1f}' + ('' if row[f'{key}_std'] is None else
                                 f' ± {row[f"{key}_std"]:.1f}')
            for key in ('rank', 'centred_rank')),
            f'{row["singular_values"][0]:.3f}')
    Console().print(table)


if __name__ == '__main__':
    print_table(main())
