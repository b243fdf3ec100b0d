"""Take the tensors out of a file of weights, and run nothing of it.

Reads what torch.save wrote, checkpoints of MMEngine and others' .pt and .bin
files, of whoever: everything in it that is no tensor is passed over. Where it
has a `state_dict`, that is what is written, or else all tensors by their
names, with dots between those of nested dicts. The file that comes out is
named in a config as the other one was.
"""
import argparse
import os.path as osp
from collections import OrderedDict

from torch import Tensor

from repfusion_mm.safe_loading.reading import read_inert
from repfusion_mm.safe_loading.safetensors_file import write_safetensors
from repfusion_mm.version import __version__


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', help='what torch.save wrote')
    parser.add_argument('out', help='the file that is written, .safetensors')
    parser.add_argument(
        '--force', action='store_true', help='overwrite the file')
    args = parser.parse_args(argv)
    if not args.out.endswith('.safetensors'):
        parser.error(f'out is {args.out}, expected a name that ends in '
                     '.safetensors')
    return args


def tensors(state, prefix=''):
    """All tensors of nested dicts, by their names with dots between."""
    if isinstance(state, Tensor):
        yield prefix[:-1], state
    elif isinstance(state, dict):
        for name, value in state.items():
            yield from tensors(value, f'{prefix}{name}.')


def main(argv=None):
    args = parse_args(argv)
    if not osp.isfile(args.file):
        raise SystemExit(f'{args.file} does not exist')
    if osp.exists(args.out) and not args.force:
        raise SystemExit(f'{args.out} exists; --force overwrites it')
    try:
        found = read_inert(args.file)
    except Exception as error:  # a broken file raises anything
        raise SystemExit(f'{args.file} cannot be read: '
                         f'{type(error).__name__}: {error}')
    if isinstance(found, dict) and isinstance(found.get('state_dict'), dict):
        found = found['state_dict']
    state = OrderedDict((name, value.detach().clone())
                        for name, value in tensors(found))
    if not state:
        raise SystemExit(f'{args.file} holds no tensors')
    versions = getattr(found, '_metadata', None)
    state._metadata = versions if is_plain(versions) else {}
    write_safetensors(state, args.out, dict(repfusion_mm_version=__version__))
    print(f'{args.out}: {len(state)} tensors, '
          f'{osp.getsize(args.out) / 1e6:.1f} MB')


def is_plain(versions):
    """Whether these are the versions of modules, by their paths."""
    return isinstance(versions, dict) and all(
        isinstance(path, str) and isinstance(version, dict) and
        set(map(type, version.values())) <= {int}
        for path, version in versions.items())


if __name__ == '__main__':
    main()
