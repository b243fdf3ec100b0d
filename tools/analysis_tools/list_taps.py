"""List the taps of a diffusion model: what can be distilled, and its cost.

Each line is a module whose features a `teacher_tap` can name, with their
shape and the share of the denoiser's operations up to it; what lies behind a
tap is neither run nor held in a training. No weights are read, and it takes
seconds.
"""
import argparse
import fnmatch
import os.path as osp

import mmengine
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Column, Table

from repfusion_mm.analysis.studied import teacher_config
from repfusion_mm.analysis.teacher_taps import teacher_taps
from repfusion_mm.models.utils.nearest import nearest
from repfusion_mm.registry import MODELS


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'teacher', help='config with a `model.teacher` or a `teacher`, or '
        'folder or hub id of a diffusion model, such as '
        'configs/demo/dpm_digits')
    parser.add_argument(
        '--image-size', type=int, nargs='+', help='side of the images, or '
        'height and width (default: what the config says, or what the model '
        'was trained at)')
    parser.add_argument(
        '--all', action='store_true', help='every module: attention queries, '
        'norms, what gives tokens (default: blocks that give maps)')
    parser.add_argument(
        '--match', help='only paths that match, such as "*resnets*"')
    parser.add_argument('--json', help='file for the list')
    args = parser.parse_args(argv)
    if args.image_size and len(args.image_size) > 2:
        parser.error(f'--image-size takes one or two numbers, got '
                     f'{args.image_size}')
    return args


def main(argv=None):
    args = parse_args(argv)
    cfg = named_teacher(args.teacher)
    if args.image_size:
        cfg['image_size'] = args.image_size if len(args.image_size) == 2 \
            else args.image_size[0]
    try:
        teacher = MODELS.build(cfg)
    except OSError as error:  # nothing is there, or the hub has none
        raise SystemExit(f'{args.teacher}: no diffusion model can be read '
                         f'from it: {" ".join(str(error).split())}') from None
    if not hasattr(teacher, 'source'):
        raise SystemExit(f'{args.teacher}: a {type(teacher).__name__} is no '
                         'diffusion model; any module of it is a tap')
    taps = teacher_taps(teacher)
    wanted = [tap for tap in taps if (
        tap.is_block or args.all) and fnmatch.fnmatch(
            tap.path, args.match or '*')]
    if not wanted:
        raise SystemExit(
            f'--match {args.match!r} matches none of {len(taps)} modules; '
            f'nearest: {nearest(args.match, [tap.path for tap in taps])}')
    if args.json:
        mmengine.dump([tap._asdict() for tap in wanted], args.json, indent=1)
    height, width = teacher.image_size
    table = Table(
        Column('tap', no_wrap=True), 'module', Column('shape', no_wrap=True),
        Column('share of the pass', justify='right'),
        title=f'{len(wanted)} of {len(taps)} taps, images of '
        f'{height}x{width}')
    for tap in wanted:
        table.add_row(tap.path, tap.kind, ' x '.join(map(str, tap.shape)),
                      f'{100 * tap.share:.1f} %')
    Console().print(table)
    return wanted


def named_teacher(name):
    """Config of the teacher that the command line names."""
    if not name.endswith('.py'):
        return dict(type='repfusion_mm.DiffusionTeacher', pretrained=name)
    cfg = Config.fromfile(name)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    try:
        return teacher_config(cfg)
    except ValueError as error:
        raise SystemExit(f'{osp.basename(name)}: {error}') from error


if __name__ == '__main__':
    main()
