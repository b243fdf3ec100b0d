"""Ask before training whether distillation will pay, and at which tap and t.

For a config of stage 1, some of whose images are labelled: what linear probes
read from the teacher at each tap and time step, and at the best of them what
the teacher knows beside what the student reaches by the labels alone; masks
and keypoints are read from both by the same kind of head. It takes minutes
and no validation images, and writes <out>.json, a picture <out>.png, and
<out>.py, the config that distils the best tap at the best time step.
"""
import argparse
import os
import os.path as osp

import mmengine
import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from repfusion_mm.analysis.look import at_chosen
from repfusion_mm.analysis.will_it_pay import recommended, will_it_pay
from repfusion_mm.arguments.options import count


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config', help='train config of stage 1, such as configs/demo/'
        'repfusion_resnet18_reinforced_digits.py')
    parser.add_argument(
        '--out', help='where to write to, without an extension (default: '
        'work_dirs/will_it_pay/<name of the config>)')
    parser.add_argument(
        '--labels', type=int, help='`labels_per_class` of every FewLabels of '
        'the config (default: as it says)')
    parser.add_argument(
        '--val', help='config whose `val_dataloader.dataset` is to be '
        'predicted, for a surer answer (default: each fifth of the labelled '
        'images, by the others)')
    parser.add_argument(
        '--taps', nargs='+', help='teacher taps to compare (default: the '
        'config\'s own, and the first and last residual block of the middle '
        'and of each block on the way up)')
    parser.add_argument('--times', type=count, default=20,
                        help='time steps (default: %(default)s)')
    parser.add_argument('--images', type=count, default=256,
                        help='labelled images at most (default: %(default)s)')
    parser.add_argument('--views', type=count, default=4,
                        help='of each image (default: %(default)s)')
    parser.add_argument('--steps', type=count, default=300,
                        help='of each training, 5 of the student, 5 half as '
                        'long, and of masks and keypoints 5 on the teacher; '
                        'best as many as the fine-tuning is to have, which '
                        'takes longer (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0,
                        help='draws the views, fifths and first weights '
                        '(default: %(default)s)')
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
    if args.labels is not None:
        set_labels(cfg.train_dataloader.dataset, args.labels)
    # a student's initialisation is logged line by line
    MMLogger.get_instance('mmengine', log_level='WARNING')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    set_random_seed(args.seed)
    val = Config.fromfile(args.val).val_dataloader.dataset if args.val \
        else None
    result = will_it_pay(
        cfg, args.taps, val, args.times, args.images, args.views, args.steps,
        'cuda' if torch.cuda.is_available() else 'cpu',
        lambda things, what: track(things, what, transient=True))
    out = args.out or osp.join('work_dirs', 'will_it_pay', osp.splitext(
        osp.basename(args.config))[0])
    mmengine.mkdir_or_exist(osp.dirname(osp.abspath(out)))
    mmengine.dump(result, f'{out}.json', indent=1)
    plot(result, f'{out}.png')
    changed = args.cfg_options is not None or args.labels is not None
    write_config(cfg, args.config, result, f'{out}.py', changed)
    print_result(result, out)
    return result


def set_labels(dataset, labels):
    """Set ``labels_per_class`` of every FewLabels in a data set's config."""
    if isinstance(dataset, (list, tuple)):
        for one in dataset:
            set_labels(one, labels)
    elif isinstance(dataset, dict):
        if str(dataset.get('type', '')).endswith('FewLabels'):
            dataset['labels_per_class'] = labels
        for one in dataset.values():
            set_labels(one, labels)


def write_config(cfg, path, result, out, changed):
    """Write the recommended config, based on the given one if it can be."""
    changes = recommended(cfg, result)
    if changed:  # of which no file knows
        cfg = Config(cfg.to_dict())
        cfg.merge_from_dict(changes)
        cfg.dump(out)
        return
    base = osp.relpath(path, osp.dirname(osp.abspath(out)))
    lines = [f'# {line}' for line in result['advice'].split('. ')]
    with open(out, 'w') as file:
        file.write('\n'.join(lines) + f'\n_base_ = {base!r}\n\n' +
                   Config(changes).pretty_text)


def plot(result, path):
    """What is read at each tap, over the time step, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(7, 4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for tap, record in result['taps'].items():
        axes.plot(record['t'], [100 * score for score in record['score']],
                  marker='.', label=tap,
                  linewidth=2 if tap == result['tap'] else 0.8)
    if result['kind'] in ('mask', 'keypoint'):
        head = ' by a head'
        axes.plot(result['t'], 100 * result['probe'], '*', color='black',
                  label=f'teacher{head}')
    else:
        head = ''
    axes.axhline(100 * result['scratch'], linestyle='--', color='black',
                 label=f'student from scratch{head}')
    axes.set(xlabel='time step t', ylabel='right, % of held-out labels',
             title='lines: linear probes of the teacher')
    axes.legend(fontsize='x-small')
    figure.savefig(path, dpi=150)


def print_result(result, out):
    """The taps, and the advice, in the terminal."""
    console = Console()
    table = Table(Column('tap', no_wrap=True), 'best t', 'worth there',
                  'right there, %', 'right at the first t, %',
                  title=f'{result["images"]} labelled images, left out one '
                  'by one')
    for tap, record in sorted(
            result['taps'].items(),
            key=lambda item: -at_chosen(item[1], 'smoothed')):
        table.add_row(tap, str(record['chosen_t']),
                      f'{at_chosen(record, "smoothed"):.3f}',
                      f'{100 * at_chosen(record, "score"):.1f}',
                      f'{100 * record["score"][0]:.1f}')
    console.print(table)
    console.print(result['advice'])
    console.print(f'{os.path.relpath(out)}.py distils there.')


if __name__ == '__main__':
    main()
