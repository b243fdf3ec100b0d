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
import os
import os.path as osp
from collections import Counter, OrderedDict

import torch

from repfusion_mm.converters.backbones import LIBRARIES, convert_backbone
from repfusion_mm.models.distillers.joint_repfusion import PARTS
from repfusion_mm.safe_loading.reading import read_inert
from repfusion_mm.safe_loading.safetensors_file import write_safetensors
from repfusion_mm.version import __version__


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


def read(path):
    """A checkpoint's weights, its meta, and the names of all else."""
    if not osp.isfile(path):
        raise SystemExit(f'{path} does not exist')
    try:
        checkpoint = read_inert(path)
    except Exception as error:  # a broken file raises anything
        raise SystemExit(f'{path} cannot be read as a checkpoint: '
                         f'{type(error).__name__}: {error}')
    if not isinstance(checkpoint, dict):
        raise SystemExit(f'{path} is no checkpoint: it holds a '
                         f'{type(checkpoint).__name__}, expected a dict with '
                         'a `state_dict`')
    # where EMAHook was used, MMEngine has put the averages into `state_dict`,
    # and what was trained into `ema_state_dict`
    if 'state_dict' not in checkpoint:
        checkpoint = dict(state_dict=checkpoint)
    weights = checkpoint.pop('state_dict')
    meta = checkpoint.pop('meta', None)
    if not isinstance(weights, dict) or \
            not all(isinstance(key, str) for key in weights):
        raise SystemExit(f'{path}: its `state_dict` is no dict of weights')
    return weights, meta if isinstance(meta, dict) else {}, list(checkpoint)


def select(weights, backbone_only):
    """The weights of the plain model, by their names there, and its parts."""
    if any(key.startswith('task.') for key in weights):
        names = {key: key[len('task.'):] for key in weights
                 if key.startswith('task.')}
    elif any(part(key) in PARTS for key in weights):
        names = {key: key for key in weights if part(key) == 'backbone'}
    else:
        names = {key: key for key in weights}
    if backbone_only:
        names = {key: name for key, name in names.items()
                 if part(name) == 'backbone'}
    if 'backbone' not in map(part, names.values()):
        raise SystemExit(
            'this is no checkpoint of RepFusion, of JointRepFusion or of a '
            'model with a backbone: expected keys backbone.* or '
            f'task.backbone.*, found {dict(counts(weights))}')
    return names


def part(key):
    return key.split('.')[0]


def counts(keys):
    """How many keys there are of each part of a model."""
    return Counter(part(key) for key in keys)


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


def is_plain(value):
    if isinstance(value, dict):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (str, bool, int, float))


def plain_weights(weights, names):
    """An OrderedDict of tensors that own what they hold, and no more."""
    odd = [key for key in names if not isinstance(weights[key], torch.Tensor)]
    if odd:
        raise SystemExit(f'{len(odd)} values of the checkpoint are no '
                         f'tensors, for example {odd[:3]}')
    plain = OrderedDict((name, weights[key].detach().clone())
                        for key, name in names.items())
    # the versions of the modules: without them, mmpose and Swin take a file
    # for one of an older release, and convert it
    versions = OrderedDict()
    start = 'task' if any(part(key) == 'task' for key in names) else ''
    for path, version in getattr(weights, '_metadata', {}).items():
        if start and part(path) != start:
            continue
        path = path[len(start):].lstrip('.')
        if (not path or part(path) in counts(plain)) and is_plain(version):
            versions[path] = version
    plain._metadata = versions
    return plain


def main(argv=None):
    args = parse_args(argv)
    if osp.exists(args.out) and not args.force:
        raise SystemExit(f'{args.out} exists; --force overwrites it')
    weights, meta, rest = read(args.checkpoint)
    names = select(weights, args.backbone_only)
    config = ''
    if args.to:
        names, config = convert(names, weights, args.to, args.single_scale)
    plain = plain_weights(weights, names)
    kept_meta = dict(repfusion_mm_version=__version__)
    for key in ('mmengine_version', 'dataset_meta'):
        if key in meta and is_plain(meta[key]):
            kept_meta[key] = meta[key]
    os.makedirs(osp.dirname(osp.abspath(args.out)), exist_ok=True)
    if args.out.endswith('.safetensors'):
        write_safetensors(plain, args.out, {
            key: value for key, value in kept_meta.items()
            if isinstance(value, str)})
    else:
        torch.save(dict(meta=kept_meta, state_dict=plain), args.out)
    report(args, weights, names, [*rest, *(set(meta) - set(kept_meta))],
           config)


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
