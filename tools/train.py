"""Train a diffusion model, distil it, or train what was distilled."""
import argparse
import os
import os.path as osp

from mmengine.config import Config, DictAction

from repfusion_mm.engine.launch import (
    find_device,
    pin_for_gpus_only,
    start_gloo_on_cpu,
)
from repfusion_mm.engine.mixed_precision import use_amp


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='train config file path')
    parser.add_argument('--work-dir', help='the dir to save logs and models')
    parser.add_argument(
        '--resume', nargs='?', const='auto',
        help='resume from this checkpoint, or without a path from the latest '
        'one in the work dir')
    parser.add_argument(
        '--device', choices=['cuda', 'cpu'],
        help='what to compute on, by default a GPU where there is one')
    parser.add_argument(
        '--amp', action='store_true',
        help='enable automatic-mixed-precision training, in float16 on a GPU '
        'and in bfloat16 on a CPU')
    parser.add_argument(
        '--amp-dtype', choices=['float16', 'bfloat16'],
        help='the other one for --amp: bfloat16 on a GPU needs no loss scale')
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate by the actual over the original batch '
        'size, the config\'s `auto_scale_lr.base_batch_size`')
    parser.add_argument(
        '--no-validate', action='store_true',
        help='do not evaluate during training')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction,
        help='override config settings: key=value, nested keys with dots, '
        'lists as key="[a,b]"')
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none', help='job launcher')
    # torch.distributed.launch passes --local-rank, torchrun LOCAL_RANK
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def merge_args(cfg, args):
    """The config as the command line changes it."""
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        cfg.work_dir = osp.join('./work_dirs', name)

    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp or args.amp_dtype:
        try:
            use_amp(cfg, find_device(), args.amp_dtype)
        except ValueError as error:
            raise SystemExit(str(error)) from error
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise SystemExit('--auto-scale-lr needs the config key '
                             '`auto_scale_lr=dict(base_batch_size=...)`, '
                             f'which {args.config} does not have')
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    return cfg


def main(argv=None):
    args = parse_args(argv)
    find_device(args.device)
    # only now, since it looks for GPUs when it is imported
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from repfusion_mm.safe_loading import guard_mmengine
    guard_mmengine()
    cfg = merge_args(Config.fromfile(args.config), args)
    pin_for_gpus_only(cfg)
    start_gloo_on_cpu(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else \
        Runner.from_cfg(cfg)
    runner.train()
    return runner


if __name__ == '__main__':
    main()
