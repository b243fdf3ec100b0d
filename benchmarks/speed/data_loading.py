"""What the images of a training step cost before they reach the model.

CPU time an image, of the training process and of the workers, of four ways of
loading small images: decoded each time or once (CachedImages), and collated by
MMEngine's pseudo_collate (a tensor for each image, its default) or
default_collate (one for the batch, what our configs of classifiers have). The
ways take an epoch in turn; ratios are taken within each round. Beside it, how
many images a second all workers together deliver to the device.
"""
import argparse
import json
import os
import resource
import time
from pathlib import Path

import numpy as np

from benchmarks.lib.plan import ROOT
from benchmarks.lib.versions import versions
from benchmarks.speed.timing import ratio

CONFIG = 'configs/distill/repfusion_resnet18_1xb128-200e_cifar10.py'
COLLATES = ('pseudo_collate', 'default_collate')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='data/cifar10_images',
                        help='folder with train/<class>/*.jpg (default: '
                        '%(default)s)')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu',
                        help='where the images go, and are normalised '
                        '(default: %(default)s)')
    parser.add_argument('--images', type=int, default=8192,
                        help='images of an epoch (default: %(default)s)')
    parser.add_argument('--workers', type=int, default=2,
                        help='processes that load (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=5,
                        help='rounds after one to warm up (default: '
                        '%(default)s)')
    parser.add_argument('--json', help='file for the figures')
    return parser.parse_args(argv)


def build(args):
    """The preprocessor, and a data loader for each way.

    Returns:
        tuple: The preprocessor, and data loaders by (cached, collate).
    """
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope
    from mmengine.runner import Runner
    init_default_scope('mmpretrain')
    cfg = Config.fromfile(str(ROOT / CONFIG))
    files = dict(
        type='CustomDataset', data_root=str(Path(args.data, 'train')),
        indices=args.images,
        pipeline=[dict(type='LoadImageFromFile'), *cfg.train_pipeline])
    cached = dict(type='repfusion_mm.CachedImages', dataset=files)
    loaders = {
        (dataset is cached, collate): Runner.build_dataloader(dict(
            batch_size=cfg.train_dataloader.batch_size,
            num_workers=args.workers, dataset=dataset,
            pin_memory=args.device == 'cuda',
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type=collate)))
        for dataset in (files, cached) for collate in COLLATES}
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    return preprocessor.to(args.device), loaders


def epoch(loader, preprocessor):
    """What an image costs.

    Returns:
        tuple: CPU microseconds an image of this process and of the workers,
        and images a second in the second half, when all are at work.
    """
    def workers():  # those that have ended
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before, start = workers(), time.process_time()
    half, since = len(loader) // 2, time.perf_counter()
    for index, batch in enumerate(loader):
        if index == half:
            since, later = time.perf_counter(), 0
        preprocessor(batch, True)
        if index >= half:
            later += len(batch['inputs'])
    rate = later / (time.perf_counter() - since)
    count = len(loader.dataset) / 1e6
    return ((time.process_time() - start) / count,
            (workers() - before) / count, rate)


def main(argv=None):
    args = parse_args(argv)
    args.data = os.path.abspath(args.data)
    if args.json:
        args.json = os.path.abspath(args.json)
    os.chdir(ROOT)
    if args.workers < 1:
        raise SystemExit(f'--workers is {args.workers}, expected 1 or more: '
                         'the workers are what is measured')
    import torch
    from rich.console import Console
    from rich.table import Table
    torch.set_num_threads(1)  # CPU time is what counts
    preprocessor, loaders = build(args)
    took = {way: [] for way in loaders}
    for index in range(args.rounds + 1):
        for way, loader in loaders.items():
            costs = epoch(loader, preprocessor)
            if index:
                took[way].append(costs)
    table = Table('decoded', 'collated by', 'process, us', 'of the first',
                  'workers, us', 'of the first', 'images a second',
                  title='CPU time an image, with 95 % intervals; what '
                  f'{args.workers} workers deliver')
    first, report = np.transpose(next(iter(took.values()))), []
    for (cached, collate), costs in took.items():
        costs = np.transpose(costs)
        row = dict(cached=cached, collate=collate)
        for name, one, other in zip(('process', 'workers'), costs, first):
            row[name] = dict(microseconds=round(float(np.median(one)), 1),
                             times_first=ratio(one, other))
        row['images_per_second'] = round(float(np.median(costs[2])))
        report.append(row)
        table.add_row(
            'once' if cached else 'each time', collate,
            *(text for name in ('process', 'workers') for text in (
                str(row[name]['microseconds']),
                '{:.2f} ({:.2f} to {:.2f})'.format(
                    *row[name]['times_first']))),
            str(row['images_per_second']))
    Console().print(table)
    report = dict(ways=report, images=args.images, rounds=args.rounds,
                  workers=args.workers, device=args.device,
                  versions=versions())
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))
    return report


if __name__ == '__main__':
    main()
