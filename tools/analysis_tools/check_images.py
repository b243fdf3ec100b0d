"""Read every image of a training, or of a folder, and list the bad ones.

    python tools/analysis_tools/check_images.py configs/MY_CONFIG.py
    python tools/analysis_tools/check_images.py data/my_images
"""
import argparse
import json
import os
import os.path as osp
from functools import partial

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from rich.progress import track

from repfusion_mm.datasets.image_check import (
    annotations,
    by_extension,
    check_files,
    counted,
    folder_files,
    passed_over,
)
from repfusion_mm.datasets.transforms.decoding import MAX_PIXELS
from repfusion_mm.registry import DATASETS

SHOWN = 20


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'what', help='train config, whose data sets are read, or a folder')
    parser.add_argument(
        '--max-pixels', type=int, default=MAX_PIXELS,
        help='an image of more is bad (default: %(default)s)')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(),
        help='files read at a time (default: %(default)s)')
    parser.add_argument('--json', help='write all that is found to this file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction,
        help='override config settings: key=value, nested keys with dots, '
        'lists as key="[a,b]"')
    return parser.parse_args(argv)


def read_config(args):
    """The images of each data set of a config, and files they pass over."""
    cfg = Config.fromfile(args.what)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    found = {}
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(key)
        if loader is None or loader in (
                cfg.get(other) for other in found):  # test is often val
            continue
        dataset = DATASETS.build(loader.dataset)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        found[key] = (annotations(dataset, range(len(dataset))),
                      passed_over(dataset))
    return found


def main(argv=None):
    args = parse_args(argv)
    if not osp.exists(args.what):
        raise SystemExit(f'{args.what} is not there; expected a config or a '
                         'folder of images')
    found = {args.what: folder_files(args.what)} if osp.isdir(args.what) \
        else read_config(args)
    report = {}
    for name, (infos, others) in found.items():
        bad = check_files(
            infos, args.workers, args.max_pixels,
            partial(track, description=name, total=len(infos)))
        report[name] = dict(images=len(infos),
                            bad=[one._asdict() for one in bad],
                            passed_over=others)
        say(name, len(infos), bad, others)
    if args.json:
        with open(args.json, 'w') as file:
            json.dump(report, file, indent=1)
    return report


def say(name, number, bad, others):
    """Print what was found."""
    print(f'{name}: {number} images, {len(bad)} bad'
          + (f': {counted(bad)}' if bad else ''))
    for one in bad[:SHOWN]:
        print(f'  {one.path!r} {one.reason}')
    if len(bad) > SHOWN:
        print(f'  and {len(bad) - SHOWN} more: --json FILE writes all')
    if others:
        print(f'  {len(others)} other files are passed over, by their '
              f'extension: {by_extension(others)}')


if __name__ == '__main__':
    raise SystemExit(any(one['bad'] for one in main().values()))
