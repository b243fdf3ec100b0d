"""The command line: ``repfusion distill DATA``."""
import argparse
import io
import sys
from contextlib import redirect_stdout
from typing import Any, List, Optional

from repfusion_mm.command.installed import check_installed
from repfusion_mm.command.plan_error import PlanError
from repfusion_mm.command.students import student_lines
from repfusion_mm.engine.launch import find_device

EPILOG = f'''students:
{student_lines()}

example:
  repfusion distill data/my_images --student resnet50 --labels data/labelled

Put your images into one folder, in any folders inside. Stopped at any moment
(Ctrl-C), the same command goes on where it was. Five passes over the images
and more have paid, 1.3 have not.
'''


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Defaults to None: the process'.

    Returns:
        argparse.Namespace: The arguments of :func:`distill`, and ``device``.
    """
    parser = argparse.ArgumentParser('repfusion', description='Better '
                                     'backbones out of diffusion models.')
    commands = parser.add_subparsers(dest='command', required=True)
    one = commands.add_parser(
        'distill', help='from a folder of images to a better backbone',
        description='From a folder of images to a better backbone: '
        'backbone.pth, report.html and all that they were made by.',
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    one.add_argument('data', metavar='DATA', help='folder of images, or a '
                     'config whose train_dataloader.dataset reads them')
    one.add_argument('--student', default='resnet18', help='a name of the '
                     'table below (default: %(default)s)')
    one.add_argument('--teacher', help='hub id or diffusers folder of a '
                     'diffusion model (default: one is trained on the images)')
    one.add_argument('--out', help='output folder (default: '
                     'work_dirs/<DATA>_<student>)')
    one.add_argument('--labels', help='labelled images, in a folder for each '
                     'class, or in train/ and val/ of these: chooses tap and '
                     'time step by them, and compares with classifiers from '
                     'scratch')
    one.add_argument('--val-share', type=float, default=0.2, help='of the '
                     'labelled images that are held out, where there is no '
                     'val/ (default: %(default)s)')
    one.add_argument('--size', type=int, help='side of the images in pixels '
                     '(default: by the images and the teacher)')
    one.add_argument('--epochs', type=float, help='passes over the images in '
                     'distillation (default: 20, or as many as make 2,000 '
                     'steps)')
    one.add_argument('--time', default='fixed', help='fixed: one time step, '
                     'the best that a look finds; reinforced: a policy that '
                     'learns from the labels (default: %(default)s)')
    one.add_argument('--no-flip', dest='flip', action='store_false',
                     help='do not flip images left and right at random: of '
                     'text, digits or signs')
    one.add_argument('--seed', type=int, default=0, help='of all trainings: '
                     'repeat the comparison by another one and another --out '
                     '(default: %(default)s)')
    one.add_argument('--amp', action='store_true', help='train in mixed '
                     'precision: in float16 on a GPU, in bfloat16 on a CPU, '
                     'which is faster where it has AVX512-BF16 or AMX')
    one.add_argument('--device', choices=['cuda', 'cpu'], help='what to '
                     'compute on, by default a GPU where there is one')
    return parser.parse_args(argv)


def main(argv: Optional[List[str]] = None) -> int:
    """Run a command.

    Args:
        argv (list[str], optional): Defaults to None: the process'.

    Returns:
        int: The exit code: 2 if it cannot be done, 130 after Ctrl-C, 75 if it
        was stopped within a training.
    """
    options = vars(parse_args(argv))
    options.pop('command')
    try:
        check_installed()
        find_device(options.pop('device'))
    except (PlanError, SystemExit) as error:
        return _refused(error)
    # only now, since it looks for GPUs when it is imported; it prints
    with redirect_stdout(io.StringIO()):
        from repfusion_mm.command import distill
    try:
        distill(**options)
    except PlanError as error:
        return _refused(error)
    except (KeyboardInterrupt, SystemExit) as stop:
        print('Stopped. The same command goes on where it was.',
              file=sys.stderr)
        return getattr(stop, 'code', 130)
    return 0


def _refused(why: Any) -> int:
    print(f'repfusion distill: {why}', file=sys.stderr)
    return 2


if __name__ == '__main__':
    sys.exit(main())
