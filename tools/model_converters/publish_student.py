"""A checkpoint as a plain one, that needs nothing of repfusion_mm.

From a checkpoint of RepFusion the student stays (backbone.*), from one of
JointRepFusion the task's model under its own names, from one of stage 2 all
of its weights. The optimiser, the log and what only training needs are left
out. Averaged weights (EMAHook) are what is published, if there were any.

--to converts the backbone for another library, which computes the same with
it. A classifier is left out. In OpenMMLab the names stay behind `backbone.`,
in timm and torchvision there is no prefix, and the model is built there once
to see that all of it fits.

                     mmpretrain  mmseg  mmpose  mmdet   timm  torchvision
  ResNet, ResNeXt        x         x      x       x      x         x
  ResNetV1c, V1d         x         x      x       x      x
  HRNet                  x         x      x       x
  MobileNetV2            x         x      x       x      x         x
  SwinTransformer        x         x      x       x      x         x
  ShuffleNetV2           x                x                        x
  CSPNeXt                                 x       x
  ConvNeXt                                               x         x
  VisionTransformer                                      x

(mmseg's HRNet interpolates otherwise, its MobileNetV2 ends at layer7.) All
else is refused, and so is ResNet_CIFAR, which is mmpretrain's alone; the
message says what to do. Without --to the names stay, and any library of
OpenMMLab can build any other's backbone by its scope, such as
type='mmpretrain.ConvNeXt'.

--to onnx writes any backbone as a program, for batches of any size, and
compares it with PyTorch where onnxruntime is installed. It asks for --config.
"""
import argparse
import os
import os.path as osp

from mmengine.config import Config

from repfusion_mm.arguments.options import count
from repfusion_mm.converters.backbones import LIBRARIES, convert_backbone
from repfusion_mm.converters.onnx_export import check_onnx, export_onnx
from repfusion_mm.converters.plain_pytorch import (
    PLAIN_LIBRARIES,
    convert_to_plain,
    how_to_load,
)
from repfusion_mm.converters.student_model import load_backbone
from repfusion_mm.converters.student_weights import (
    backbone_weights,
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
                        'repfusion_mm is in the config; .onnx')
    parser.add_argument(
        '--to', choices=(*LIBRARIES, *PLAIN_LIBRARIES, 'onnx'),
        help='what the backbone is converted for')
    parser.add_argument(
        '--backbone-only', action='store_true',
        help='leave out the neck and the head')
    parser.add_argument(
        '--single-scale', action='store_true',
        help='with --to, an HRNet: leave out what it has not without '
        'multiscale_output, which is how mmpose builds it by default')
    parser.add_argument(
        '--config', help='with --to onnx: the config of the training')
    parser.add_argument(
        '--image-size', type=count, nargs='+', default=[224],
        help='with --to onnx: side of the images, or height and width '
        '(default: 224)')
    parser.add_argument(
        '--force', action='store_true', help='overwrite the file')
    args = parser.parse_args(argv)
    if args.single_scale and args.to not in LIBRARIES:
        parser.error(f'--single-scale needs --to, one of {LIBRARIES}')
    if (args.to == 'onnx') != (args.config is not None):
        parser.error('--to onnx and --config belong together: the backbone is '
                     'built as the config of its training says')
    if args.to == 'onnx' and not args.out.endswith('.onnx'):
        parser.error(f'--to onnx writes an .onnx file, got {args.out}')
    if len(args.image_size) > 2:
        parser.error(f'--image-size takes one or two numbers, got '
                     f'{args.image_size}')
    return args


def convert(names, weights, library, single_scale):
    """The names as another library has them, and what its config says."""
    source = backbone_names(names, library)
    try:
        renamed, config = convert_backbone(
            {name: weights[key] for name, key in source.items()}, library,
            single_scale)
    except ValueError as error:
        raise ValueError(f'cannot be converted to {library}: {error}')
    return {source[name]: f'backbone.{new}'
            for name, new in renamed.items()}, config


def backbone_names(names, library):
    """The backbone's own names, and the keys; there may be nothing else."""
    others = set(map(part, names.values())) - {'backbone'}
    if others:
        raise ValueError(f'--to {library} converts backbones, and there are '
                         f'also {sorted(others)}: add --backbone-only')
    return {name[len('backbone.'):]: key for key, name in names.items()}


def main(argv=None):
    args = parse_args(argv)
    if osp.exists(args.out) and not args.force:
        raise SystemExit(f'{args.out} exists; --force overwrites it')
    try:
        return publish(args)
    except (ValueError, ModuleNotFoundError) as error:
        raise SystemExit(str(error))


def publish(args):
    weights, meta, rest = read_checkpoint(args.checkpoint)
    if args.to == 'onnx':
        return publish_onnx(args)
    names = plain_names(weights, args.backbone_only)
    if args.to in PLAIN_LIBRARIES:
        return publish_plain(args, names, weights)
    config = ''
    if args.to:
        names, config = convert(names, weights, args.to, args.single_scale)
    plain = plain_weights(weights, names)
    kept = write_plain(plain, args.out, meta)
    report(args, weights, names, [*rest, *(set(meta) - set(kept))], config)


def publish_plain(args, names, weights):
    """Write the backbone for timm or torchvision, and say how to load it."""
    backbone_names(names, args.to)
    try:
        model = convert_to_plain(backbone_weights(weights), args.to)
    except ValueError as error:
        raise ValueError(f'cannot be converted to {args.to}: {error}')
    write_plain({key: value.contiguous()
                 for key, value in model.weights.items()}, args.out)
    print(f'{args.out}: {osp.getsize(args.out) / 1e6:.1f} MB, '
          f'{args.to}\'s {model.name} without its classifier, {model.head}. '
          'Its weights are all there.\n'
          f'{how_to_load(model, args.to, args.out)}')
    if model.note:
        print(model.note)


def publish_onnx(args):
    """Write the backbone as a program, and compare the two."""
    size = (args.image_size[0], args.image_size[-1])
    backbone = load_backbone(Config.fromfile(args.config), args.checkpoint)
    os.makedirs(osp.dirname(osp.abspath(args.out)), exist_ok=True)
    draft = f'{args.out}.part'
    shapes = export_onnx(backbone, size, draft)
    worst = check_onnx(backbone, size, draft)
    os.replace(draft, args.out)
    print(f'{args.out}: {osp.getsize(args.out) / 1e6:.1f} MB')
    print(f'  images    (batch, 3, {size[0]}, {size[1]}), normalised as in '
          'the training')
    for name, shape in shapes.items():
        print(f'  {name}  (batch, {", ".join(map(str, shape))})')
    print('It was not run: pip install onnxruntime' if worst is None else
          f'By onnxruntime it differs from PyTorch by {worst:.1e} of the '
          'largest value.')


def report(args, weights, names, rest, config):
    """Say what is in the file, what is not, and how to use it."""
    print(f'{args.out}: {osp.getsize(args.out) / 1e6:.1f} MB')
    for what, keys in (('kept', names.values()),
                       ('dropped', weights.keys() - names.keys())):
        for name, number in sorted(counts(keys).items()):
            print(f'  {what:8}{number:5}  {name}.*')
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
