"""Test a task model: metrics, predictions, pictures."""
import argparse
import os
import os.path as osp

from mmengine.config import Config, DictAction

from repfusion_mm.arguments.options import count
from repfusion_mm.engine.launch import (
    find_device,
    pin_for_gpus_only,
    start_gloo_on_cpu,
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='test config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--work-dir', help='the dir to save the evaluation metrics')
    parser.add_argument(
        '--device', choices=['cuda', 'cpu'],
        help='what to compute on, by default a GPU where there is one')
    parser.add_argument('--out', help='file (.pkl) to save the results to')
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], default='pred',
        help='what --out holds, predictions by default; metrics also take '
        '.json and .yaml')
    parser.add_argument(
        '--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--show-dir', help='directory to save pictures of predictions to')
    parser.add_argument(
        '--interval', type=count, default=1, help='show every n-th sample')
    parser.add_argument(
        '--wait-time', type=float, default=2,
        help='seconds that each window stays')
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
    if args.out and args.out_item == 'pred' and \
            not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: predictions are saved as .pkl')
    return args


def merge_args(cfg, args):
    """The config as the command line changes it."""
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        cfg.work_dir = osp.join('./work_dirs', name)

    if args.show or args.show_dir is not None:
        if 'visualization' not in cfg.get('default_hooks', {}):
            raise SystemExit('--show and --show-dir need a visualization hook '
                             'in the config\'s `default_hooks`')
        hook = cfg.default_hooks.visualization
        hook.show = args.show
        hook.wait_time = args.wait_time
        hook.interval = args.interval
        # mmseg's hook is switched otherwise, and leaves files to the
        # visualizer
        if cfg.get('default_scope') == 'mmseg':
            hook.draw = True
            if args.show_dir is not None:
                cfg.visualizer.save_dir = args.show_dir
        elif cfg.get('default_scope') == 'mmdet':
            hook.draw = True
            if args.show_dir is not None:  # it would put it into the work dir
                hook.test_out_dir = osp.abspath(args.show_dir)
        else:
            hook.enable = True
            if args.show_dir is not None:
                hook.out_dir = args.show_dir
    if args.cfg_options is not None:
        cfg.merge_from_dict(args.cfg_options)
    return cfg


def main(argv=None):
    args = parse_args(argv)
    if not osp.isfile(args.checkpoint) and '://' not in args.checkpoint:
        raise SystemExit(f'checkpoint {args.checkpoint} does not exist')
    find_device(args.device)
    # only now, since it looks for GPUs when it is imported
    import mmengine
    from mmengine.evaluator import DumpResults
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from repfusion_mm.safe_loading import guard_mmengine
    guard_mmengine()
    cfg = merge_args(Config.fromfile(args.config), args)
    pin_for_gpus_only(cfg)
    start_gloo_on_cpu(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else \
        Runner.from_cfg(cfg)
    if args.out and args.out_item == 'pred':
        runner.test_evaluator.metrics.append(
            DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if args.out and args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)
    return metrics


if __name__ == '__main__':
    main()
