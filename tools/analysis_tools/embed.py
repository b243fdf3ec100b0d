"""Features of a folder of images, one vector each, by a trained backbone.

    python tools/analysis_tools/embed.py CONFIG CHECKPOINT FOLDER --out x.npy

CONFIG and CHECKPOINT are of stage 1, of a joint model or of any model of
mmpretrain. Maps are averaged. Images are shown as the config's test shows
them, or where it has none (stage 1) the middle of each, as large as in the
training. Features are written as they come, so that any number fits into
memory; images that cannot be read are listed and left out.
"""
import argparse
import json
import os.path as osp

from mmengine.config import Config, DictAction
from rich.progress import track

from repfusion_mm.analysis.embedding import embed_folder
from repfusion_mm.analysis.folder_images import FolderImages, pipeline_of
from repfusion_mm.arguments.options import count
from repfusion_mm.converters.student_model import (
    build_preprocessor,
    load_backbone,
)
from repfusion_mm.engine.launch import find_device

SHOWN = 20


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of the training')
    parser.add_argument('checkpoint', help='that it wrote, or what '
                        'publish_student.py made of it')
    parser.add_argument('folder', help='of images, with any folders inside')
    parser.add_argument(
        '--out', required=True, help='.npy, with the names in a .txt beside '
        'it, one a line; or .parquet, with the columns name and vector')
    parser.add_argument(
        '--image-size', type=count, nargs='+',
        help='side of the images, or height and width (default: what the '
        'config says)')
    parser.add_argument(
        '--batch-size', type=count, default=32,
        help='images at a time (default: %(default)s)')
    parser.add_argument(
        '--workers', type=int, default=0,
        help='processes that read images (default: %(default)s)')
    parser.add_argument('--bad', help='write what is wrong with which image '
                        'to this .json')
    parser.add_argument('--force', action='store_true',
                        help='overwrite the file')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction,
        help='override config settings: key=value, nested keys with dots, '
        'lists as key="[a,b]"')
    args = parser.parse_args(argv)
    if args.image_size and len(args.image_size) > 2:
        parser.error(f'--image-size takes one or two numbers, got '
                     f'{args.image_size}')
    return args


def main(argv=None):
    args = parse_args(argv)
    names = [args.out, *[f'{args.out[:-4]}.txt'] * args.out.endswith('.npy')]
    for name in names:
        if osp.exists(name) and not args.force:
            raise SystemExit(f'{name} exists; --force overwrites it')
    if not osp.isdir(args.folder):
        raise SystemExit(f'{args.folder} is no folder')
    try:
        found = embed(args)
    except (ValueError, ModuleNotFoundError) as error:
        raise SystemExit(str(error))
    print(f'{args.out}: {found["images"]} images, {found["width"]} features '
          f'each, {osp.getsize(args.out) / 1e6:.1f} MB')
    bad = found['bad']
    if bad:
        print(f'{len(bad)} images are left out:')
    for name, reason in list(bad.items())[:SHOWN]:
        print(f'  {name!r} {reason}')
    if len(bad) > SHOWN:
        print(f'  and {len(bad) - SHOWN} more: --bad FILE writes all')
    if args.bad:
        with open(args.bad, 'w') as file:
            json.dump(bad, file, indent=1)
    return found


def embed(args):
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    size = args.image_size and (args.image_size[0], args.image_size[-1])
    images = FolderImages(args.folder, pipeline_of(cfg, size))
    device = 'cuda' if find_device() == 'cuda' else 'cpu'
    backbone = load_backbone(cfg, args.checkpoint).to(device)
    return embed_folder(
        backbone, build_preprocessor(cfg).to(device), images, args.out,
        args.batch_size, args.workers,
        lambda batches: track(batches, f'{len(images)} images',
                              transient=True))


if __name__ == '__main__':
    main()
