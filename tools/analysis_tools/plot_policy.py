"""What a policy has learnt: which t it drew over training, and for whom.

For the work_dir of a stage 1. <out>.png shows the time steps drawn over the
training and, for labelled images, mean t and reward of each class by the last
checkpoint's policy; <out>_images.png the images with the smallest and the
largest mean t. The labelled images are those of the training, in its crops,
or those of --data.
"""
import argparse
import os.path as osp
from pathlib import Path

import mmengine
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import find_latest_checkpoint, set_random_seed
from rich.console import Console
from rich.progress import track
from rich.table import Table

from repfusion_mm.analysis.figures import image_rows, new_figure, save_figure
from repfusion_mm.analysis.policy_by_image import by_class, policy_by_image
from repfusion_mm.analysis.policy_records import read_policy
from repfusion_mm.analysis.studied import (
    SPLITS,
    study_images,
    study_student,
)
from repfusion_mm.analysis.tool_options import add_device, chosen_device
from repfusion_mm.arguments.options import count


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', help='of a stage 1: with its config, '
                        'time_steps.jsonl and checkpoints')
    add_device(parser)
    parser.add_argument('--checkpoint', help='of the training (default: the '
                        'last one)')
    parser.add_argument('--data', help='config whose images are drawn for '
                        '(default: that of the training)')
    parser.add_argument('--split', choices=SPLITS, default='train',
                        help='whose images (default: %(default)s)')
    parser.add_argument('--images', type=count, default=512,
                        help='labelled images at most (default: %(default)s)')
    parser.add_argument('--draws', type=count, default=4,
                        help='time steps drawn for each (default: '
                        '%(default)s)')
    parser.add_argument('--show', type=count, default=10,
                        help='images of the smallest and largest t that are '
                        'shown (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0,
                        help='draws images and time steps (default: '
                        '%(default)s)')
    parser.add_argument('--out', help='where to write to, without an '
                        'extension (default: <work_dir>/policy)')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    folder = Path(args.work_dir)
    looked, steps = read_policy(folder)
    if not steps:
        raise SystemExit(f'{folder} has no time_steps.jsonl: expected the '
                         'work_dir of a stage 1 with TimeSamplerHook in its '
                         '`custom_hooks`')
    cfg = work_config(folder)
    if args.data:
        key = f'{args.split}_dataloader'
        cfg[key] = Config.fromfile(args.data).get(key)
    checkpoint = args.checkpoint or find_latest_checkpoint(args.work_dir)
    if checkpoint is None:
        raise SystemExit(f'{folder} has no checkpoint; name one by '
                         '--checkpoint')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    set_random_seed(args.seed)
    device = chosen_device(args.device)
    model = study_student(cfg, checkpoint, device)
    model.teacher.init_weights()
    images = study_images(cfg, args.split, args.images, labelled=True)
    rows = policy_by_image(
        model, images, args.draws, device,
        lambda parts: track(parts, 'asking the policy', transient=True))
    classes = by_class(rows, images.classes)
    out = args.out or str(folder / 'policy')
    order = np.argsort([row['mean_t'] for row in rows], kind='stable')
    few = order[:args.show], order[::-1][:args.show]
    if rows[order[-1]]['mean_t'] - rows[order[0]]['mean_t'] < 1:
        Console().print('The policy draws the same t for all these images: '
                        'those of the smallest and the largest differ by '
                        'less than a time step.')
    mmengine.dump(dict(
        checkpoint=osp.basename(checkpoint), look=looked, steps=steps,
        classes=classes, images=rows), out + '.json')
    plot(steps, classes, model.teacher.num_timesteps, out + '.png')
    plot_images(images.looked.images[:, 0], rows, few, out + '_images.png')
    return classes


def work_config(folder):
    """The config that a Runner left in its work_dir."""
    found = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit(f'{folder} has no config, *.py, as a Runner leaves '
                         'it in its work_dir')
    return Config.fromfile(str(found[-1]))


def plot(steps, classes, end, path):
    """The time steps over the training, of those below end, and classes."""
    figure = new_figure(11, 3.5)
    over, times, rewards = figure.subplots(1, 3)
    picture = np.array([record['histogram'] for record in steps]).T
    image = over.imshow(picture, origin='lower', aspect='auto',
                        extent=(0, steps[-1]['iter'], 0, end))
    over.set(xlabel='iteration', ylabel='time step t')
    figure.colorbar(image, ax=over, label='share')
    names = [one['class'] for one in classes]
    for axes, key, error, label in (
            (times, 'mean_t', 't_error', 'mean t'),
            (rewards, 'reward', 'reward_error', 'mean reward')):
        values = [one[key] for one in classes]
        if None in values:
            axes.set_axis_off()
            continue
        axes.errorbar(range(len(names)), values, [
            one[error] or 0 for one in classes], fmt='o', capsize=3)
        axes.set_xticks(range(len(names)), names, rotation=60, fontsize=7)
        axes.set(ylabel=label)
    low, high = times.get_ylim()
    if high - low < 10:  # differences of less than a time step are none
        times.set_ylim((low + high) / 2 - 5, (low + high) / 2 + 5)
    save_figure(figure, path, 110)


def plot_images(images, rows, few, path):
    """The images with the smallest t, and with the largest."""
    pixels = images.permute(0, 2, 3, 1).numpy()
    figure = new_figure(0.9 * len(few[0]) + 0.9, 2.4)
    image_rows(figure, [[pixels[index] for index in some] for some in few],
               names=[f'mean t\n{rows[some[0]]["mean_t"]:.0f} to '
                      f'{rows[some[-1]]["mean_t"]:.0f}' for some in few])
    save_figure(figure, path, 120)


def print_table(classes):
    """The classes in the terminal."""
    table = Table('class', 'images', 'mean t', 'mean reward')
    for one in classes:
        table.add_row(one['class'], str(one['images']), *(
            '' if one[key] is None else f'{one[key]:.{digits}f}' + (
                '' if one[error] is None else f' ± {one[error]:.{digits}f}')
            for key, error, digits in (('mean_t', 't_error', 1),
                                       ('reward', 'reward_error', 3))))
    Console().print(table)


if __name__ == '__main__':
    print_table(main())
