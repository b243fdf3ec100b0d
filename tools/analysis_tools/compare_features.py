"""Compare features by linear CKA: teacher taps over t, a student, a model.

1 where all images lie alike to each other, up to rotation and scale. The
teacher is the config's; with --checkpoint its student is compared, too, and
with --model any classifier of mmpretrain. CKA of few images is high whatever
the features: what it is by chance is measured and printed; take several times
as many images as there are channels.
"""
import argparse

import mmengine
import numpy as np
from mmengine.runner import set_random_seed
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from repfusion_mm.analysis.feature_similarity import (
    classifier_features,
    similarity,
    student_features,
    teacher_features,
)
from repfusion_mm.analysis.figures import heat_map, new_figure, save_figure
from repfusion_mm.analysis.studied import (
    study_images,
    study_student,
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
    parser.add_argument('--checkpoint', help='of the config\'s stage 1: its '
                        'student is compared, too')
    parser.add_argument('--student-taps', nargs='+', help='layers of the '
                        'student (default: those of the connections)')
    parser.add_argument(
        '--model', nargs='+', metavar=('CONFIG', 'CHECKPOINT'),
        help='a classifier of mmpretrain; without a checkpoint its weights '
        'are random')
    parser.add_argument('--model-taps', nargs='+', default=['backbone'],
                        help='layers of it (default: %(default)s)')
    parser.add_argument(
        '--model-channel-order', choices=['rgb', 'bgr'], default='rgb',
        help='of the images that it was trained on (default: %(default)s)')
    parser.add_argument('--images', type=count, default=1536,
                        help='images in all (default: %(default)s)')
    parser.add_argument('--draws', type=count, default=3,
                        help='parts of the images, compared one by one '
                        '(default: %(default)s)')
    parser.add_argument('--out', help='write <out>.json with the numbers and '
                        '<out>.png with the heat map')
    args = parser.parse_args(argv)
    if args.student_taps and not args.checkpoint:
        parser.error('--student-taps needs --checkpoint')
    if args.model and len(args.model) > 2:
        parser.error('--model takes a config and a checkpoint, got '
                     f'{args.model}')
    return args


def main(argv=None):
    args = parse_args(argv)
    cfg = read_config(args)
    set_random_seed(args.seed)
    device = chosen_device(args.device)
    teacher = study_teacher(cfg, args.taps, device)
    times = study_times(cfg, teacher, args.timesteps)
    student = study_student(cfg, args.checkpoint, device) \
        if args.checkpoint else None
    images = study_images(
        cfg, args.split, args.images,
        progress=lambda them: track(them, 'reading images', transient=True))
    features = {}
    if args.model:  # first, as it may be wrong
        features.update(
            (f'model {tap}', feature) for tap, feature in classifier_features(
                args.model[0], (args.model[1:] or [None])[0], args.model_taps,
                images.looked, args.model_channel_order, device).items())
    if student is not None:
        taps = args.student_taps or [
            one.student_tap for one in student.connections]
        features.update(
            (f'student {tap}', feature) for tap, feature in student_features(
                student.backbone, images.inputs, taps, device).items())
    of_teacher = teacher_features(
        teacher, images.looked, times, device,
        lambda ts: track(ts, 'z(t)', transient=True))
    found = similarity({**of_teacher, **features}, args.draws)
    if args.out:
        mmengine.dump(found.record(), args.out + '.json')
        plot(found, args.out + '.png')
    return found


def plot(found, path):
    """The CKA of all pairs."""
    size = 2.5 + 0.22 * len(found.names)
    figure = new_figure(size + 1, size)
    axes = figure.subplots()
    heat_map(axes, found.cka, found.names, found.names,
             f'linear CKA, {found.images} images (by chance '
             f'{found.chance:.2f})', 2, (0, 1))
    axes.tick_params(axis='x', rotation=90)
    save_figure(figure, path)


def print_table(found):
    """What each is most and least like, in the terminal."""
    table = Table(Column('features', no_wrap=True), 'most like', 'CKA',
                  'least like', 'CKA', title=f'Linear CKA, {found.images} '
                  f'images; by chance {found.chance:.3f}')
    for row, name in enumerate(found.names):
        others = found.cka[row].copy()
        others[row] = np.nan
        if np.isnan(others).all():
            continue
        cells = []
        for best in (np.nanargmax(others), np.nanargmin(others)):
            spread = '' if found.std is None else \
                f' ± {found.std[row, best]:.3f}'
            cells += [found.names[best], f'{others[best]:.3f}{spread}']
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == '__main__':
    print_table(main())
