"""The options that the analysis tools share."""
import argparse
from typing import Optional

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from repfusion_mm.engine.launch import find_device

from .studied import SPLITS


def add_config(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``config``, ``--device`` and ``--cfg-options``.

    Args:
        parser (argparse.ArgumentParser): Of a tool.
        what (str): Which config it takes, for ``--help``.
    """
    parser.add_argument('config', help=what)
    add_device(parser)
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction,
        help='override config settings: key=value, nested keys with dots, '
        'lists as key="[a,b]"')


def add_taps(parser: argparse.ArgumentParser) -> None:
    """Add ``--taps``.

    Args:
        parser (argparse.ArgumentParser): Of a tool.
    """
    parser.add_argument(
        '--taps', nargs='*', help='teacher taps (default: the config\'s own; '
        'without a value: the first and last residual block of the middle '
        'and of each block on the way up)')


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add ``--timesteps``, ``--split`` and ``--seed``.

    Args:
        parser (argparse.ArgumentParser): Of a tool.
    """
    parser.add_argument(
        '--timesteps', type=int, nargs='+', help='time steps (default: the '
        'config\'s `timesteps`, or 10)')
    parser.add_argument('--split', choices=SPLITS, default='train',
                        help='whose images (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0,
                        help='draws the images (default: %(default)s)')


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``.

    Args:
        parser (argparse.ArgumentParser): Of a tool.
    """
    parser.add_argument(
        '--device', choices=['cuda', 'cpu'],
        help='what to compute on, by default a GPU where there is one')


def read_config(args: argparse.Namespace) -> Config:
    """The config as the command line changes it, its scope the default.

    Args:
        args (argparse.Namespace): With what :func:`add_config` added.

    Returns:
        Config: It.
    """
    cfg = Config.fromfile(args.config)
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    return cfg


def chosen_device(asked: Optional[str]) -> str:
    """What a tool computes on.

    Args:
        asked (str, optional): ``'cuda'``, ``'cpu'`` or None.

    Returns:
        str: ``'cuda'`` or ``'cpu'``.

    Raises:
        SystemExit: As of :func:`find_device`.
    """
    # a tool moves all it has by itself: a GPU need not be hidden from it
    return 'cuda' if asked != 'cpu' and find_device(asked) == 'cuda' \
        else 'cpu'
