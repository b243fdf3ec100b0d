"""A checkpoint as a plain one, that needs nothing of repfusion_mm.

From a checkpoint of RepFusion the student stays (backbone.*), from one of
JointRepFusion the task's model under its own names, from one of stage 2 all
of its weights. The optimiser, the log and what only training needs are left
out. Averaged weights (EMAHook) are what is published, if there were any.

--to renames the backbone where the libraries name it differently:
  ResNet, ResNeXt    mmpretrain, mmseg, mmpose; also ResNetV1c and ResNetV1d
  HRNet              mmpretrain, mmseg, mmpose; mmseg interpolates otherwise
  MobileNetV2        mmpretrain, mmpose; to mmseg, which ends at layer7
  SwinTransformer    mmpretrain, mmseg, mmpose
  ShuffleNetV2       mmpretrain, mmpose
All else is refused. Without --to the names stay, and any library can build
any other's backbone by its scope, such as type='mmpretrain.ConvNeXt'.
"""
import argparse
import os.path as osp

from repfusion_mm.converters.backbones import LIBRARIES, convert_backbone
from repfusion_mm.converters.publish import (
    counts,
    part,
    plain_names,
    plain_weights,
    read_checkpoint,
    write_plain,
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='of RepFusion, JointRepFusion or '
                        'a model of stage 2')
    parser.add_argument('out', help='the file that is written: .pth, or '
                        '.safetensors, which MMEngine reads where anything of '
                        'repfusion_mm is in the config')
    parser.add_argument(
        '--to', choices=LIBRARIES,
        help='name the backbone\'s weights as this library does')
    parser.add_argument(
        '--backbone-only', action='store_true',
        help='leave out the neck and the head')
    parser.add_argument(
        '--single-scale', action='store_true',
        help='with --to, an HRNet: leave out what it has not without '
        'multiscale_output, which is how mmpose builds it by default')
    parser.add_argument(
        '--force', action='store_true', help='overwrite the file')
    args = parser.parse_args(argv)
    if args.single_scale and not args.to:
        parser.error('--single-scale needs --to')
    return args


def convert(names, weights, library, single_scale):
    """The names as another library has them, and what its config says."""
    others = set(map(part, names.values())) - {'backbone'}
    if others:
        raise SystemExit(f'--to converts backbones, and there are also '
                         f'{sorted(others)}: add --backbone-only')
    prefix = 'backbone.'
    source = {name[len(prefix):]: key for key, name in names.items()}
    try:
        renamed, config = convert_backbone(
            {name: weights[key] for name, key in source.items()}, library,
            single_scale)
    except ValueError as error:
        raise SystemExit(f'cannot be converted to {library}: {error}')
    return {source[name]: prefix + new
            for name, new in renamed.items()}, config


def main(argv=None):
    args = parse_args(argv)
    if osp.exists(args.out) and not args.force:
        raise SystemExit(f'{args.out} exists; --force overwrites it')
    try:
        weights, meta, rest = read_checkpoint(args.checkpoint)
        names = plain_names(weights, args.backbone_only)
        config = ''
        if args.to:
            names, config = convert(names, weights, args.to,
                                    args.single_scale)
        kept = write_plain(plain_weights(weights, names), meta, args.out)
    except ValueError as error:
        raise SystemExit(str(error))
    report(args, weights, names, [*rest, *(set(meta) - set(kept))], config)


def report(args, weights, names, rest, config):
    """Say what is in the file, what is not, and how to use it."""
    print(f'{args.out}: {osp.getsize(args.out) / 1e6:.1f} MB')
    for what, keys in (('kept', names.values()),
                       ('dropped', weights.keys() - names.keys())):
        for name, count in sorted(counts(keys).items()):
            print(f'  {what:8}{count:5}  {name}.*')
    print(f'  dropped       {", ".join(sorted(rest)) or "nothing else"}')
    if config:
        print(f'It fits the backbone of {args.to} with {config}.')
    print('A model starts from it by\n'
          '  model = dict(backbone=dict(init_cfg=dict(type=\'Pretrained\',\n'
          f'      checkpoint=\'{args.out}\', prefix=\'backbone.\')))')
    if set(map(part, names.values())) != {'backbone'}:
        print(f'and all of it is loaded by\n  load_from = \'{args.out}\'')


if __name__ == '__main__':
    main()
