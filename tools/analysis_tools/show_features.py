"""Draw a diffusion model's feature maps beside the image, over t.

The three principal components of a map, over all images and positions, are
its red, green and blue, turned so that maps of neighbouring t have alike
colours. With --checkpoint, of a training by this config (stage 1), the maps
of the student stand beside them.
"""
import argparse

import mmengine
from mmengine.runner import set_random_seed
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from repfusion_mm.analysis.feature_maps import pca_maps
from repfusion_mm.analysis.feature_similarity import student_features
from repfusion_mm.analysis.figures import image_rows, new_figure, save_figure
from repfusion_mm.analysis.label_free import effective_rank
from repfusion_mm.analysis.look import features_at
from repfusion_mm.analysis.studied import (
    study_images,
    study_student,
    study_teacher,
    study_times,
)
from repfusion_mm.analysis.tool_options import (
    add_config,
    add_images,
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
    parser.add_argument('--tap', help='teacher tap (default: the config\'s '
                        'first)')
    add_images(parser)
    parser.add_argument('--images', type=count, default=6,
                        help='images that are shown (default: %(default)s)')
    parser.add_argument('--fit-images', type=count, default=64,
                        help='images whose components they are, at least '
                        'those shown (default: %(default)s)')
    parser.add_argument('--checkpoint', help='of the config\'s stage 1, to '
                        'show the student beside the teacher')
    parser.add_argument('--student-taps', nargs='+', help='layers of the '
                        'student (default: those of the connections)')
    parser.add_argument('--out', default='work_dirs/show_features/features',
                        help='write <out>.png and <out>.json (default: '
                        '%(default)s)')
    args = parser.parse_args(argv)
    if args.student_taps and not args.checkpoint:
        parser.error('--student-taps needs --checkpoint')
    return args


def main(argv=None):
    args = parse_args(argv)
    cfg = read_config(args)
    set_random_seed(args.seed)
    device = chosen_device(args.device)
    teacher = study_teacher(cfg, args.tap and [args.tap], device)
    tap = next(iter(teacher.feature_shapes))
    times = study_times(cfg, teacher, args.timesteps)
    student = study_student(cfg, args.checkpoint, device) \
        if args.checkpoint else None
    images = study_images(cfg, args.split, max(args.images, args.fit_images))
    shown = {f't = {t}': features_at(
        teacher, images.looked, t, [tap], lambda feature: feature,
        device=device)[tap][:, 0].cpu()
        for t in track(times, 'z(t)', transient=True)}
    if student is not None:
        taps = args.student_taps or [
            one.student_tap for one in student.connections]
        shown.update(student_features(
            student.backbone, images.inputs, taps, device,
            lambda feature: feature))
    pictures = pca_maps(list(shown.values()))
    rows = [dict(name=name, shape=list(feature.shape[1:]),
                 rank=effective_rank(_positions(feature)))
            for name, feature in shown.items()]
    mmengine.dump(dict(tap=tap, images=images.looked.indices[:args.images],
                       maps=rows), args.out + '.json')
    plot(images.looked.images[:args.images, 0], pictures, list(shown),
         args.out + '.png')
    return rows


def _positions(feature):
    """A map's positions as rows, minus their mean."""
    rows = feature.double().transpose(0, 1).flatten(1).T
    return rows - rows.mean(0)


def plot(images, pictures, titles, path):
    """Each image in a row, with its maps."""
    images = images.permute(0, 2, 3, 1).numpy()
    figure = new_figure(0.9 * (1 + len(titles)), 0.9 * len(images) + 0.3)
    image_rows(figure, [[image, *(maps[row] for maps in pictures)]
                        for row, image in enumerate(images)],
               ['image', *titles])
    save_figure(figure, path, 120)


def print_table(rows):
    """What was drawn, in the terminal."""
    table = Table(Column('map', no_wrap=True), 'shape',
                  'effective rank of its positions')
    for row in rows:
        table.add_row(row['name'], ' x '.join(map(str, row['shape'])),
                      f'{row["rank"]:.1f}')
    Console().print(table)


if __name__ == '__main__':
    print_table(main())
