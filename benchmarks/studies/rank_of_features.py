"""Does the features' effective rank help to find t, where labels are few?

The teacher is shown all images at 20 time steps, once. For some draws of few
labelled ones t is chosen by what these say of each other, held out; by the
effective rank of their features, which needs no label; and by both, as the
look before a training does. A choice is worth what a regression on the
labelled images reads of all others at this t, averaged over the draws.

The digits come with the shipped diffusion model. With --dpm also the
validation images of the study on CIFAR-10.
"""
import argparse
import json
import os
from pathlib import Path

import torch

from benchmarks.lib.plan import ROOT, quiet, start
from benchmarks.lib.versions import versions
from benchmarks.studies.reward_bias import (
    TAP,
    draw,
    each_t,
    pooled_features,
    teacher_features,
)
from benchmarks.studies.study import MIDDLES
from benchmarks.studies.teacher_jobs import teacher_and_images

RULES = ('labels', 'rank', 'both')
DRAWN = dict(digits=(2, 5), cifar10=(10, 48))  # labels a class


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='data/cifar10_images',
                        help='as of the study (default: %(default)s)')
    parser.add_argument('--dpm', help='a diffusion model of CIFAR-10 at '
                        '16x16, as a diffusers folder (default: the digits '
                        'alone)')
    parser.add_argument('--draws', type=int, default=30,
                        help='of the labels (default: %(default)s)')
    parser.add_argument('--out', default='work_dirs/rank_of_features',
                        help='folder of the images (default: %(default)s)')
    parser.add_argument('--json', help='file for the figures')
    parser.add_argument('--threads', type=int, help='of the process')
    return parser.parse_args(argv)


def digit_features(progress):
    """Pooled features of all digits, (T, N, C), and samples."""
    from mmengine.config import Config
    cfg = Config.fromfile('configs/demo/repfusion_resnet18_uniform_digits.py')
    every = dict(type='ConcatDataset', datasets=[
        dict(type='repfusion_mm.Digits', split=split,
             pipeline=[dict(type='PackInputs')])
        for split in ('train', 'val', 'test')])
    return pooled_features(
        *teacher_and_images(cfg, every),
        cfg.model.connections[0].teacher_tap, progress)


def choices(features, fits):
    """The t that each rule takes from some labelled images.

    Args:
        features (Tensor): Of these, (T, N, C).
        fits (list): What their labels say, a HeldOut for each t.

    Returns:
        dict[str, int]: Place of the time step, by rule.
    """
    from repfusion_mm.analysis.label_free import effective_rank
    from repfusion_mm.models.time_samplers.looked_values import looked_values
    rewards = torch.stack([one.rewards for one in fits], 1)[:, None]
    ranks = torch.tensor([effective_rank(x) for x in features])
    alike = torch.zeros(len(rewards), 1, 3, 1, 1)  # images are not looked at
    return dict(
        labels=int(looked_values(rewards, alike).mean.argmax()),
        rank=int(ranks.argmax()),
        both=int(looked_values(rewards, alike, ranks).mean.argmax()))


def read_of_others(features, labels, own, targets, fits):
    """Share of all other images that a regression on the own ones names.

    Args:
        features (Tensor): Of all images, (T, N, C).
        labels (Tensor): Of all, (N,).
        own (Tensor): Which of them are labelled.
        targets (Targets): Of these.
        fits (list): What these say of each other, a HeldOut for each t.

    Returns:
        list[float]: At each t.
    """
    from repfusion_mm.models.utils.ridge import ridge_fit
    others = torch.ones(len(labels), dtype=torch.bool)
    others[own] = False
    read = []
    for x, fit in zip(features, fits):
        weight, intercept = ridge_fit(x[own][:, None], targets.values,
                                      fit.ridge, targets.mask)
        predicted = (x.double() @ weight + intercept).argmax(1)
        read.append(float((predicted == labels)[others].double().mean()))
    return read


def compared(features, samples, number, draws, progress):
    """What each rule chose, and what that is worth."""
    labels = torch.cat([sample.gt_label for sample in samples])
    chosen, read = {rule: [] for rule in RULES}, []
    for seed in progress.track(range(draws), description=f'{number} labels'):
        own = draw(labels, number, torch.Generator().manual_seed(seed))
        targets, fits = each_t(features[:, own],
                               [samples[i] for i in own.tolist()])
        found = choices(features[:, own], fits)
        for rule in RULES:
            chosen[rule].append(found[rule])
        read.append(read_of_others(features, labels, own, targets, fits))
    mean = 100 * torch.tensor(read).double().mean(0)
    rules = {}
    for rule, places in chosen.items():
        worth = mean[places]
        rules[rule] = dict(
            accuracy=round(float(worth.mean()), 2),
            std_error=round(float(worth.std() / draws**0.5), 2),
            t=sorted(MIDDLES[place] for place in places))
    return dict(labels=number, draws=draws, t=MIDDLES, read=[
        round(float(one), 2) for one in mean], best=round(
            float(mean.max()), 2), best_t=MIDDLES[int(mean.argmax())],
        rules=rules)


def main(argv=None):
    args = parse_args(argv)
    os.chdir(ROOT)
    os.makedirs(args.out, exist_ok=True)
    console, progress = start('rank_of_features', args.threads)
    rows = []
    with progress:
        with quiet(Path(args.out, 'digits.txt')):
            seen = dict(digits=digit_features(progress))
        if args.dpm:
            seen['cifar10'] = teacher_features(args, progress)
        for name, (features, samples) in seen.items():
            rows += [dict(data=name, **compared(
                features, samples, number, args.draws, progress))
                for number in DRAWN[name]]
    print_table(rows, console)
    if args.json:
        Path(args.json).write_text(json.dumps(dict(
            tap_of_cifar10=TAP, rows=rows, versions=versions()), indent=1))


def print_table(rows, console):
    """What is read at the t that each rule takes, and the worst of them."""
    from rich.table import Table
    table = Table('data', 'labels', 'best t', *RULES,
                  title='right of all other images, %')
    for row in rows:
        table.add_row(
            row['data'], str(row['labels']), f'{row["best"]:.1f} (t = '
            f'{row["best_t"]})', *(
                f'{one["accuracy"]:.1f} (t = {one["t"][0]} to {one["t"][-1]})'
                for one in (row['rules'][rule] for rule in RULES)))
    console.print(table)


if __name__ == '__main__':
    main()
