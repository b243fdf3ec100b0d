"""Linear-probe accuracy of a teacher's features over the time step."""
import argparse
import os.path as osp

import mmengine
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.progress import track
from rich.table import Table

from repfusion_mm.analysis import pooled_features, probe_over_time
from repfusion_mm.arguments.options import count
from repfusion_mm.engine.launch import find_device, pin_for_gpus_only
from repfusion_mm.registry import MODELS


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='config with `teacher`, `train_dataloader`, '
        '`val_dataloader`, `data_preprocessor`, `timesteps` and '
        '`labels_per_class`, such as configs/demo/probe_digits.py')
    parser.add_argument(
        '--split', choices=['val', 'test'], default='val',
        help='what the probe predicts')
    parser.add_argument(
        '--seeds', type=count, default=10,
        help='number of draws of the labelled images')
    parser.add_argument(
        '--out', help='write <out>.json with the numbers and <out>.png with '
        'the curve')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction,
        help='override config settings: key=value, nested keys with dots, '
        'lists as key="[a,b]"')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.default_scope)
    pin_for_gpus_only(cfg)
    device = 'cuda' if find_device() == 'cuda' else 'cpu'
    teacher = MODELS.build(cfg.teacher)
    teacher.init_weights()
    teacher.to(device)
    with MODELS.switch_scope_and_registry(cfg.default_scope) as registry:
        preprocessor = registry.build(cfg.data_preprocessor).to(device)

    def features(split):
        loader = Runner.build_dataloader(cfg[f'{split}_dataloader'], seed=0)
        return pooled_features(
            teacher, track(loader, f'z(t) of {split} images', transient=True),
            preprocessor, cfg.timesteps,
            channel_order=cfg.get('channel_order', 'rgb'),
            raw_image=cfg.get('raw_image'))

    rows = probe_over_time(
        features('train'), features(args.split), cfg.labels_per_class,
        args.seeds, lambda ts: track(ts, 'probing', transient=True))
    if args.out:
        mmengine.dump(rows, args.out + '.json')
        plot(rows, args.out + '.png')
    return rows


def plot(rows, path):
    """The probe's curve as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 3.5), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.errorbar([row['t'] for row in rows],
                  [row['accuracy'] for row in rows],
                  [row['std_error'] or 0 for row in rows], marker='o',
                  capsize=3)
    axes.set(xlabel='time step t', ylabel='linear-probe accuracy, %')
    mmengine.mkdir_or_exist(osp.dirname(osp.abspath(path)))
    figure.savefig(path, dpi=150)


def print_table(rows):
    """The probe's accuracies in the terminal."""
    from rich.console import Console
    table = Table('t', 'accuracy, %', 'standard error')
    for row in rows:
        table.add_row(str(row['t']), f'{row["accuracy"]:.1f}',
                      '' if row['std_error'] is None else
                      f'{row["std_error"]:.1f}')
    Console().print(table)


if __name__ == '__main__':
    print_table(main())
