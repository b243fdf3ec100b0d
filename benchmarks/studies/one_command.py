"""The one command: what does its backbone give a classifier?

For each seed there is a folder of images without labels, one of a few of them,
drawn by the seed, in a folder for each class, and test images to compare on:
all digits as PNG files, or, with --dpm, 5,000 images of CIFAR-10 and 1,000
official test images. Then `repfusion distill` runs on these folders as a user
would run it, from the shipped diffusion model or the one that is named. It
compares a classifier that starts from the backbone with one from scratch of as
many steps, and with one of the steps of both stages. Stopped, the same command
goes on.
"""
import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np

from benchmarks.lib.paired import interval_text, paired_difference
from benchmarks.lib.plan import ROOT, start
from benchmarks.lib.versions import versions

TEACHER = 'configs/demo/dpm_digits'
UNLABELLED, TEST = 500, 100  # images of each class of CIFAR-10


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--dpm', help='a diffusion model of CIFAR-10 at '
                        '16x16, as a diffusers folder (default: the digits)')
    parser.add_argument('--data', default='data/cifar10_images',
                        help='CIFAR-10 as train/<class>/*.jpg and '
                        'test/<class>/*.jpg (default: %(default)s)')
    parser.add_argument('--labels', type=int, default=2,
                        help='labels a class (default: %(default)s)')
    parser.add_argument('--seeds', type=int, default=3,
                        help='draws of the labels (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=100,
                        help='the seeds count from here (default: '
                        '%(default)s)')
    parser.add_argument('--student', default='resnet18',
                        help='as of the command (default: %(default)s)')
    parser.add_argument('--epochs', type=float, default=20,
                        help='as of the command (default: %(default)s)')
    parser.add_argument('--out', default='work_dirs/one_command',
                        help='folder of it all (default: %(default)s)')
    parser.add_argument('--json', help='file for the figures')
    parser.add_argument('--threads', type=int, help='of the process')
    return parser.parse_args(argv)


def copy_folders(data, folder, labels, seed):
    """The same of CIFAR-10, as :func:`write_folders`.

    Args:
        data (str): With ``train/<class>/`` and ``test/<class>/``.
        folder (Path): Where to.
        labels (int): Images of each class that are labelled.
        seed (int): Draws them.
    """
    random = np.random.default_rng(seed)
    for own in sorted(Path(data, 'train').iterdir()):
        paths = sorted(own.glob('*.jpg'))[:UNLABELLED]
        drawn = random.choice(len(paths), labels, replace=False)
        tested = sorted(Path(data, 'test', own.name).glob('*.jpg'))[:TEST]
        for place, chosen in (
                (folder / 'all' / own.name, paths),
                (folder / 'labels' / 'train' / own.name,
                 [paths[i] for i in drawn]),
                (folder / 'labels' / 'val' / own.name, tested)):
            place.mkdir(parents=True, exist_ok=True)
            for path in chosen:
                shutil.copy(path, place)


def write_folders(folder, labels, seed):
    """``all/*.png``, ``labels/train/<class>/`` and ``labels/val/<class>/``.

    Args:
        folder (Path): Where to.
        labels (int): Images of each class that are labelled.
        seed (int): Draws them.
    """
    import cv2

    from repfusion_mm.datasets import Digits
    random = np.random.default_rng(seed)
    drawn = set()
    for split in ('train', 'test'):
        dataset = Digits(split, pipeline=[])
        rows = [dataset.get_data_info(i) for i in range(len(dataset))]
        classes = np.array([row['gt_label'] for row in rows])
        if split == 'train':
            drawn = {int(i) for one in range(10) for i in random.choice(
                np.flatnonzero(classes == one), labels, replace=False)}
        for number, row in enumerate(rows):
            places = [folder / 'all'] if split == 'train' else []
            if split == 'test' or number in drawn:
                places.append(folder / 'labels' / (
                    'train' if split == 'train' else 'val') /
                    str(row['gt_label']))
            for place in places:
                place.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(place / f'{split}_{number:04}.png'),
                            row['img'])


def run(args, seed):
    """The command's comparison of one seed, accuracies by arm."""
    from repfusion_mm.command import distill
    folder = Path(args.out, f'seed{seed}_{args.labels}labels')
    if not (folder / 'written').exists():
        if args.dpm:
            copy_folders(args.data, folder, args.labels, seed)
        else:
            write_folders(folder, args.labels, seed)
        (folder / 'written').touch()
    result = distill(
        str(folder / 'all'), labels=str(folder / 'labels'),
        teacher=args.dpm or TEACHER, size=16 if args.dpm else None,
        student=args.student, epochs=args.epochs, flip=bool(args.dpm),
        seed=seed,
        out=str(folder / f'out_{args.student}_{args.epochs:g}'))
    return dict(seed=seed, tap=result.tap, t=result.t, **{
        row['arm']: round(row['accuracy'], 2) for row in result.comparison})


def summary(rows):
    """Mean and standard deviation of each arm, and the paired gains.

    Args:
        rows (list[dict]): Of :func:`run`.

    Returns:
        list[dict]: One for each arm.
    """
    own = [row['distilled'] for row in rows]
    arms = []
    for arm in ('distilled', 'scratch', 'scratch_long'):
        values = [row[arm] for row in rows]
        found = dict(arm=arm, mean=round(float(np.mean(values)), 2))
        if len(values) > 1:
            found['std'] = round(float(np.std(values, ddof=1)), 2)
        if arm != 'distilled':
            found['gain'], found['interval'] = paired_difference(own, values)
        arms.append(found)
    return arms


def main(argv=None):
    args = parse_args(argv)
    os.chdir(ROOT)  # where the diffusion model is
    console, _ = start('one_command', args.threads)
    rows = [run(args, seed) for seed in
            range(args.first_seed, args.first_seed + args.seeds)]
    arms = summary(rows)
    for one in arms:
        gain = '' if 'gain' not in one else (
            f'; distilled is {one["gain"]:+.1f} over it '
            f'({interval_text(one["interval"])})')
        console.print(f'{one["arm"]:13} {one["mean"]:.1f} %, std '
                      f'{one.get("std", "-")}{gain}')
    if args.json:
        Path(args.json).write_text(json.dumps(dict(
            data='cifar10' if args.dpm else 'digits',
            labels=args.labels, student=args.student, epochs=args.epochs,
            seeds=rows, arms=arms, versions=versions()), indent=1))


if __name__ == '__main__':
    main()
