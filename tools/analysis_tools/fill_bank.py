"""Compute all of a training's feature bank ahead of it."""
import argparse
import os
import os.path as osp

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from rich.progress import track

from repfusion_mm.arguments.options import count
from repfusion_mm.datasets.transforms import skipped
from repfusion_mm.engine.launch import find_device
from repfusion_mm.registry import MODELS


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'config', help='train config whose `model.teacher` is a BankedTeacher')
    parser.add_argument(
        '--batch-size', type=count, default=128,
        help='images at a time (default: %(default)s)')
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
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    if 'BankedTeacher' not in cfg.model.get('teacher', {}).get('type', ''):
        raise SystemExit(f'{args.config} has no bank to fill: its '
                         '`model.teacher` is no repfusion_mm.BankedTeacher')
    # of the whole model: its connections and reward say what is stored
    teacher = MODELS.build(cfg.model).teacher
    teacher.init_weights()
    teacher.to('cuda' if find_device() == 'cuda' else 'cpu')
    batches = teacher.fill(args.batch_size)
    total = next(batches)
    listed = osp.join(teacher.folder, skipped.FILE)
    if osp.exists(listed):
        os.remove(listed)  # those that still are bad are met again
    skipped.keep_in(listed)
    for _ in track(batches, f'{total} entries', -(-total // args.batch_size)):
        pass
    skipped.forget()
    bad = len(skipped.read(listed))
    if bad:
        print(f'{bad} images cannot be read and have no features; they are '
              f'listed in {listed}')
    return total


if __name__ == '__main__':
    main()
