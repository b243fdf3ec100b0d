"""What can be read of the labels from a teacher's features, over t.

Of classes by a linear probe and by nearest neighbours; of masks (mmseg),
landmarks (mmpose) and several labels an image by ridge regressions, on a
coarse grid of cells. With --taps it is a heat map of taps by t. The features
are computed once for all t and taps, and lie on disk beside --out, where a
run that was killed, or is repeated with other labels, finds them again.
"""
import argparse
import contextlib
import os.path as osp
import tempfile

import mmengine
import numpy as np
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from repfusion_mm.analysis import probe_over_time
from repfusion_mm.analysis.dense_probe import dense_probe_over_time
from repfusion_mm.analysis.figures import heat_map, new_figure, save_figure
from repfusion_mm.analysis.probed_split import probed_split
from repfusion_mm.analysis.studied import (
    preprocessing,
    study_teacher,
    study_times,
    teacher_config,
)
from repfusion_mm.analysis.tool_options import (
    add_config,
    add_taps,
    chosen_device,
    read_config,
)
from repfusion_mm.arguments.options import count
from repfusion_mm.engine.launch import pin_for_gpus_only


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser, 'config with `teacher` (or `model.teacher`), '
               '`train_dataloader`, `val_dataloader`, `data_preprocessor`, '
               '`timesteps` and `labels_per_class` (of masks and landmarks: '
               'labelled images in all), such as configs/demo/'
               'probe_digits.py')
    add_taps(parser)
    parser.add_argument(
        '--split', choices=['val', 'test'], default='val',
        help='what the probe predicts')
    parser.add_argument(
        '--seeds', type=count, default=10,
        help='number of draws of the labelled images')
    parser.add_argument(
        '--out', help='write <out>.json with the numbers, <out>.png with '
        'the curve or heat map, and <out>_features with the features, which '
        'may be deleted')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    cfg = read_config(args)
    device = chosen_device(args.device)
    pin_for_gpus_only(cfg)
    teacher = study_teacher(cfg, args.taps, device)
    times = study_times(cfg, teacher, None)
    preprocessor, raw_image = preprocessing(cfg)
    preprocessor, raw_image = preprocessor.to(device), raw_image.to(device)
    with contextlib.ExitStack() as stack:
        folder = f'{args.out}_features' if args.out else \
            stack.enter_context(tempfile.TemporaryDirectory())

        def split(name):
            loader = cfg[f'{name}_dataloader']
            return probed_split(
                teacher, Runner.build_dataloader(loader, seed=0),
                (preprocessor, raw_image), times, osp.join(folder, name),
                dict(teacher=teacher_config(cfg),
                     dataset=str(loader['dataset'])),
                lambda batches: track(batches, f'z(t) of {name} images',
                                      transient=True))

        rows = probe(split('train'), split(args.split),
                     cfg.get('labels_per_class'), args.seeds)
    if args.out:
        mmengine.dump(rows, args.out + '.json')
        plot(rows, args.out + '.png')
    return rows


def probe(train, test, labels_per_class, seeds):
    """Rows of all taps, by the kind of the labels."""
    targets = [one.targets() for one in (train, test)]
    if targets[0].kind == 'class':
        labels = [one.labels() for one in (train, test)]
        over_time = probe_over_time
    else:
        number = max(one.values.size(2) for one in targets)
        labels = [one.targets(number) for one in (train, test)]
        over_time = dense_probe_over_time
    rows = []
    for tap in train.features.columns:
        known, asked = ((one.features.of(tap, one.images), what)
                        for one, what in zip((train, test), labels))
        rows += [dict(tap=tap, **row) for row in over_time(
            known, asked, labels_per_class, seeds,
            lambda ts, tap=tap: track(ts, f'probing {tap}', transient=True))]
    return rows


def plot(rows, path):
    """One tap's curves, or the heat map of several."""
    taps = list(dict.fromkeys(row['tap'] for row in rows))
    measures = {'accuracy': 'linear-probe accuracy, %',
                'knn': 'nearest neighbours, %'}
    if 'knn' not in rows[0]:
        measures = {'accuracy': 'ridge regression, % right'}
    if len(taps) == 1:
        figure = new_figure(6, 3.5)
        axes = figure.subplots()
        for key, label in measures.items():
            error = 'std_error' if key == 'accuracy' else 'knn_std_error'
            axes.errorbar([row['t'] for row in rows],
                          [row[key] for row in rows],
                          [row[error] or 0 for row in rows], marker='o',
                          capsize=3, label=label)
        axes.set(xlabel='time step t', ylabel='right, %')
        axes.legend()
    else:
        times = list(dict.fromkeys(row['t'] for row in rows))
        figure = new_figure(0.6 * len(times) * len(measures) + 3,
                            max(0.35 * len(taps) + 1.2, 2.8))
        panels = figure.subplots(1, len(measures), squeeze=False,
                                 sharey=True)[0]
        for axes, (key, label) in zip(panels, measures.items()):
            heat_map(axes, np.reshape([row[key] for row in rows],
                                      (len(taps), len(times))),
                     times, taps, label, 1)
            axes.set(xlabel='time step t')
    save_figure(figure, path)


def print_table(rows):
    """The probe's accuracies in the terminal."""
    several = len({row.get('tap') for row in rows}) > 1
    neighbours = 'knn' in rows[0]
    table = Table(*[Column('tap', no_wrap=True)] * several, 't',
                  'accuracy, %', 'standard error',
                  *['nearest neighbours, %'] * neighbours)
    for row in rows:
        table.add_row(
            *[row.get('tap')] * several, str(row['t']),
            f'{row["accuracy"]:.1f}',
            '' if row['std_error'] is None else f'{row["std_error"]:.1f}',
            *[f'{row["knn"]:.1f}'] if neighbours else [])
    Console().print(table)


if __name__ == '__main__':
    print_table(main())
