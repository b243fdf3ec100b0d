"""RepFusion and its baselines on CIFAR-10, with few and with all labels.

A diffusion model is trained on the training images, without labels. For each
share of labels and each seed a backbone is distilled by each arm, fine-tuned
on the labelled images and tested on the official test images. All arms of a
seed see the same batches and labels, and all distilled ones have the same
budget; scratch_long fine-tunes for as many steps as they take in both stages.
Which fixed t is the best one is decided on validation images, for the middle
share of labels, by a seed that is not reported.
Everything runs from the public configs; finished jobs are kept in <out>/jobs
and not run again.
"""
import argparse
import copy
import logging
import os
import random
import shutil
from pathlib import Path

from plan import ROOT, Plan, tool

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog',
           'horse', 'ship', 'truck')
ARMS = dict(
    scratch=None,
    scratch_long=None,
    classifier='hint_resnet18_resnet50-teacher_1xb128-200e_cifar10',
    fixed='repfusion-fixed_resnet18_1xb128-200e_cifar10',
    uniform='repfusion-uniform_resnet18_1xb128-200e_cifar10',
    reinforced='repfusion_resnet18_1xb128-200e_cifar10',
    constant='repfusion-constant_resnet18_1xb128-200e_cifar10',
    contrastive='repfusion-contrastive_resnet18_1xb128-200e_cifar10')
NUM_VAL = 200  # validation images of each class, the last ones of training
SELECTION_SEED = 0  # chooses the fixed t; is not reported

_SMALL_RESNET = dict(stem_channels=16, base_channels=16)
SIZES = dict(
    # what two CPU cores can do in two hours: 16x16 pixels, a denoiser of
    # 2.7 M parameters, a ResNet-18 with a quarter of the channels
    smoke=dict(
        image_size=16,
        images_per_class=2000,
        test_per_class=400,
        fixed_t=[30, 100, 300],
        tap='mid_block.resnets.1',  # a linear probe reads more of it
        student=_SMALL_RESNET,
        classifier=dict(depth=18, **_SMALL_RESNET),
        denoiser=dict(
            _delete_=True, sample_size=16, layers_per_block=1,
            block_out_channels=(32, 64, 128), norm_num_groups=8,
            attention_head_dim=16,
            down_block_types=('DownBlock2D', 'DownBlock2D',
                              'AttnDownBlock2D'),
            up_block_types=('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D')),
        dpm=dict(iters=3000, batch=64, lr=1e-3, ema=0.002),
        distill=dict(iters=400, batch=64, lr=2e-3),
        finetune=dict(iters=300, batch=64, lr=2e-3),
        num_bins=20, workers=0, amp=False),
    # the published architectures; meant for 25 minutes on one GPU of the H200
    # class by an estimate of its arithmetic, and not run yet
    full=dict(
        image_size=32,
        images_per_class=5000 - NUM_VAL,
        test_per_class=1000,
        fixed_t=[30, 100, 300],
        tap='mid_block.resnets.1.conv2',  # as published
        student={},
        classifier={},
        denoiser={},
        dpm=dict(iters=5000, batch=256, lr=4e-4, ema=0.001),
        distill=dict(iters=400, batch=256, lr=2e-3),
        finetune=dict(iters=400, batch=256, lr=2e-3),
        num_bins=20, workers=12, amp=True))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--data', default='data/cifar10_images',
        help='folder with train/<class>/*.jpg (or .png) and test/<class>/ '
        '(default: %(default)s)')
    parser.add_argument('--size', choices=list(SIZES), default='smoke',
                        help='how large it all is (default: %(default)s)')
    parser.add_argument('--out', help='folder of results (default: '
                        'work_dirs/cifar10_<size>)')
    parser.add_argument(
        '--labels', nargs='+', type=int, default=[1, 10, 100],
        help='percent of the images that are labelled (default: 1 10 100)')
    parser.add_argument('--seeds', type=int, default=3,
                        help='number of seeds (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=10,
                        help='the seeds count from here (default: '
                        '%(default)s)')
    parser.add_argument('--arms', nargs='+', choices=list(ARMS),
                        default=[arm for arm in ARMS if arm != 'constant'],
                        help='what to compare (default: all but constant)')
    parser.add_argument('--threads', type=int,
                        help='threads of this process (default: torch\'s)')
    args = parser.parse_args(argv)
    if args.first_seed <= SELECTION_SEED:
        parser.error(f'--first-seed must be above {SELECTION_SEED}, the seed '
                     'that chooses the fixed t')
    args.out = args.out or f'work_dirs/cifar10_{args.size}'
    return args


def list_images(folder, out, train_per_class, test_per_class):
    """Write train.txt, val.txt and test.txt for ``CustomDataset``.

    Args:
        folder (str): With ``train/<class>/`` and ``test/<class>/``.
        out (Path): Where to.
        train_per_class (int): Training images of each class.
        test_per_class (int): Test images of each class.

    Returns:
        str: All of it, as an input of the jobs.
    """
    lists = dict(train=[], val=[], test=[])
    for label, name in enumerate(CLASSES):
        found = {}
        for split in ('train', 'test'):
            found[split] = sorted(
                str(path.relative_to(folder))
                for path in Path(folder, split, name).glob('*')
                if path.suffix in ('.jpg', '.png'))
            least = NUM_VAL + 1 if split == 'train' else 1
            if len(found[split]) < least:
                raise SystemExit(
                    f'--data: {len(found[split])} images in {folder}/{split}/'
                    f'{name}, at least {least} are needed; expected '
                    'train/<class>/*.jpg and test/<class>/*.jpg')
        val = found['train'][-NUM_VAL:]
        train = found['train'][:-NUM_VAL][:train_per_class]
        for split, paths in (('train', train), ('val', val),
                             ('test', found['test'][:test_per_class])):
            lists[split] += [f'{path} {label}' for path in paths]
    out.mkdir(parents=True, exist_ok=True)
    for split, lines in lists.items():
        random.Random(0).shuffle(lines)
        (out / f'{split}.txt').write_text('\n'.join(lines))
    return str(lists)


class Study(Plan):
    """The jobs of one run."""

    def __init__(self, args):
        self.args, self.size = args, copy.deepcopy(SIZES[args.size])
        self.size['both'] = dict(
            self.size['finetune'], iters=self.size['distill']['iters'] +
            self.size['finetune']['iters'])
        lists = list_images(args.data, Path(args.out),
                            self.size['images_per_class'],
                            self.size['test_per_class'])
        super().__init__(args.out, lists.encode())
        self.train, self.test = tool('train'), tool('test')

    # --- configs ------------------------------------------------------------
    def images(self, split, training):
        """Config of a data set of this study."""
        side = self.size['image_size']
        resize = [] if side == 32 else [
            dict(type='Resize', scale=side, interpolation='area')]
        augment = [
            dict(type='RandomCrop', crop_size=side, padding=side // 8),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ] if training else []
        return dict(
            type='CustomDataset', data_root=str(Path(self.args.data)),
            ann_file=str((self.out / f'{split}.txt').absolute()),
            metainfo=dict(classes=CLASSES),
            pipeline=[dict(type='LoadImageFromFile'), *resize, *augment,
                      dict(type='PackInputs')])

    def few(self, percent, part, seed):
        """The labelled or the unlabelled part of the training images."""
        per_class = self.size['images_per_class'] * percent // 100
        return dict(
            type='repfusion_mm.FewLabels', part=part, seed=seed,
            labels_per_class=None if percent == 100 else per_class,
            dataset=self.images('train', True))

    def loader(self, dataset, batch, seed, infinite=True):
        return dict(
            batch_size=batch, num_workers=self.size['workers'],
            persistent_workers=self.size['workers'] > 0,
            # its own seed: whatever an arm draws, the batches are the same
            sampler=dict(type='InfiniteSampler' if infinite else
                         'DefaultSampler', shuffle=infinite, seed=seed),
            dataset=dataset)

    def config(self, path, budget, dataset, seed, **changes):
        """A public config with this study's data, size and budget."""
        from mmengine.config import Config
        cfg = Config.fromfile(str(ROOT / 'configs' / path))
        budget = self.size[budget]
        warmup = max(1, budget['iters'] // 10)
        everywhere = dict(
            train_dataloader=dict(
                _delete_=True, **self.loader(dataset, budget['batch'], seed)),
            train_cfg=dict(_delete_=True, by_epoch=False,
                           max_iters=budget['iters'],
                           val_interval=budget['iters']),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.04, end=warmup,
                     by_epoch=False),
                dict(type='CosineAnnealingLR', begin=warmup, by_epoch=False)],
            optim_wrapper=dict(
                _delete_=True,
                optimizer=dict(type='AdamW', lr=budget['lr'],
                               weight_decay=0.05)),
            default_hooks=dict(checkpoint=dict(
                by_epoch=False, interval=min(1000, budget['iters']))),
            log_processor=dict(by_epoch=False),
            val_cfg=None, val_dataloader=None, val_evaluator=None,
            test_cfg=None, test_dataloader=None, test_evaluator=None,
            randomness=dict(seed=seed))
        if self.size['amp']:
            everywhere['optim_wrapper'].update(
                type='AmpOptimWrapper', dtype='bfloat16')
        cfg.merge_from_dict(everywhere)
        for place in (cfg, cfg.model):  # files are read as BGR
            if 'data_preprocessor' in place:
                place.data_preprocessor.to_rgb = True
        cfg.merge_from_dict(copy.deepcopy(changes))
        return cfg

    # --- jobs ---------------------------------------------------------------
    def fit(self, name, stage, cfg, test_split=None, after=''):
        """Train by a config, and test where a split is named.

        Returns the last checkpoint's path (or the accuracy in percent and
        the path), and the key of the job.
        """
        def run():
            work_dir, resume = self.work_dir(name)
            path = str(work_dir / f'{name}.py')
            cfg.dump(path)
            self.train([path, '--work-dir', str(work_dir), *resume])
            weights = (work_dir / 'last_checkpoint').read_text() \
                if (work_dir / 'last_checkpoint').exists() else None
            if test_split is None:
                return weights
            metrics = self.test([path, weights, '--work-dir', str(work_dir)])
            return [round(metrics['accuracy/top1'], 2), weights]

        if test_split is not None:
            cfg.test_cfg = dict()
            cfg.test_dataloader = self.loader(
                self.images(test_split, False), 500, 0, infinite=False)
            cfg.test_evaluator = dict(type='Accuracy', topk=1)
        return self.once(name, stage, [cfg.dump(), after], run)

    def dpm(self):
        """The diffusion model; returns its folder and the job's key."""
        budget = self.size['dpm']
        cfg = self.config(
            'dpm/unet_32px_cifar10.py', 'dpm',
            self.few(0, 'unlabelled', 0), 0,
            model=dict(denoiser=self.size['denoiser'], channel_order='bgr'),
            optim_wrapper=dict(clip_grad=dict(max_norm=1.)),
            custom_hooks=[dict(type='EMAHook', momentum=budget['ema']),
                          dict(type='repfusion_mm.DPMExportHook')])
        _, key = self.fit('dpm', 'dpm', cfg)
        return str(self.jobs / 'dpm' / 'dpm'), key

    def classifier(self, percent, seed):
        """The supervised teacher, on the same labels: config, weights, key."""
        change = copy.deepcopy(self.size['classifier'])
        model = dict(backbone=change, head=dict(
            in_channels=8 * change['base_channels'])) if change else {}
        cfg = self.config(
            'mmpretrain/resnet50_1xb128-200e_cifar10.py', 'finetune',
            self.few(percent, 'labelled', seed), seed, model=model)
        name = f'classifier_{percent}percent_seed{seed}'
        weights, key = self.fit(name, 'classifier', cfg)
        return str(self.jobs / name / f'{name}.py'), weights, key

    def distill(self, arm, percent, seed, t=None):
        """Stage 1; returns the checkpoint and the key of the job."""
        labelled = self.size['images_per_class'] * percent // 100
        rest = self.size['images_per_class'] - labelled
        # a quarter of each batch is labelled, whatever the share of labels
        times = max(1, round(rest / 3 / labelled))
        dataset = dict(type='ConcatDataset', datasets=[
            self.few(percent, 'unlabelled', seed),
            dict(type='RepeatDataset', times=times,
                 dataset=self.few(percent, 'labelled', seed))])
        model = dict(backbone=self.size['student'])
        if arm == 'classifier':
            path, weights, after = self.classifier(percent, seed)
            model['teacher'] = dict(model=path, checkpoint=weights,
                                    image_size=self.size['image_size'])
        else:
            folder, after = self.dpm()
            # as it was trained
            model['teacher'] = dict(pretrained=folder, input_range=(-1, 1))
            model['connections'] = [dict(
                student_tap='out.-1', teacher_tap=self.size['tap'],
                loss=dict(type='repfusion_mm.HintLoss', pool=True))]
        hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
        if arm in ('reinforced', 'constant', 'contrastive'):
            model['time_sampler'] = dict(
                num_bins=self.size['num_bins'], entropy_weight=0.3)
            hooks = [dict(
                type='repfusion_mm.TimeSamplerHook',
                schedules=[dict(attribute='entropy_weight', end=0.)])]
        if arm in ('reinforced', 'constant'):
            model['reward'] = dict(hidden=())
        if arm == 'fixed':
            model['time_sampler'] = dict(t=t)
        cfg = self.config(f'distill/{ARMS[arm]}.py', 'distill', dataset, seed,
                          model=model, custom_hooks=hooks)
        name = f'distill_{arm}{"" if t is None else t}_{percent}percent_' \
            f'seed{seed}'
        return self.fit(name, 'distill', cfg, after=after)

    def finetune(self, arm, percent, seed, split='test', t=None):
        """Stage 2 and its test; returns the accuracy in percent."""
        changes, after, start, budget = {}, '', '', 'finetune'
        backbone = copy.deepcopy(self.size['student'])
        if arm == 'scratch_long':
            budget = 'both'
        elif arm != 'scratch':
            checkpoint, after = self.distill(arm, percent, seed, t)
            backbone['init_cfg'] = dict(checkpoint=checkpoint)
            start = 'repfusion-init_'
        if self.size['student']:
            changes['model'] = dict(
                backbone=backbone,
                head=dict(in_channels=8 * backbone['base_channels']))
        else:
            changes['model'] = dict(backbone=backbone)
        cfg = self.config(
            f'mmpretrain/resnet18_{start}1xb128-200e_cifar10.py', budget,
            self.few(percent, 'labelled', seed), seed, **changes)
        name = f'finetune_{arm}{"" if t is None else t}_{percent}percent_' \
            f'seed{seed}_{split}'
        (accuracy, weights), _ = self.fit(name, 'finetune', cfg, split, after)
        shutil.rmtree(Path(weights).parent, ignore_errors=True)
        return accuracy

    def best_fixed_t(self, percent):
        """The fixed t with the best validation accuracy, and all of them."""
        tried = {t: self.finetune('fixed', percent, SELECTION_SEED, 'val', t)
                 for t in self.size['fixed_t']}
        return max(tried, key=tried.get), tried


def main(argv=None):
    args = parse_args(argv)
    os.chdir(ROOT)  # the configs name their files from here
    import torch
    from cifar10_report import write_report
    from mmengine.logging import MMLogger
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    if args.threads:
        torch.set_num_threads(args.threads)
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    MMLogger.get_instance('cifar10', log_level='ERROR')
    console = Console()
    study = Study(args)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    # seed by seed, so that a run that is stopped has whole seeds
    jobs = [(seed, percent, arm) for seed in seeds
            for percent in args.labels for arm in args.arms]
    with Progress(TextColumn('{task.description}'), BarColumn(),
                  MofNCompleteColumn(), TimeElapsedColumn(),
                  TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task(
            'diffusion model', total=2 + len(jobs))
        study.dpm()
        progress.advance(bar)
        best, tried = None, {}
        if 'fixed' in args.arms:
            percent = sorted(args.labels)[len(args.labels) // 2]
            progress.update(bar, description=f'best fixed t, {percent} %')
            best, tried = study.best_fixed_t(percent)
        progress.advance(bar)
        accuracy = {}
        for seed, percent, arm in jobs:
            progress.update(
                bar, description=f'{arm}, {percent} %, seed {seed}')
            accuracy.setdefault((percent, arm), []).append(study.finetune(
                arm, percent, seed,
                t=best if arm == 'fixed' else None))
            write_report(study, accuracy, tried)
            progress.advance(bar)
    write_report(study, accuracy, tried, console)


if __name__ == '__main__':
    main()
