"""Which t a reward prefers, where each image of a batch is at another t.

The teacher is shown the validation images of the study on CIFAR-10 at 20 time
steps, once. Then, for some draws of few labelled images, what the same labels
tell at each t by itself (a ridge regression, held out in closed form) is put
beside the rewards of a training whose t are drawn uniformly: a classifier that
is trained along, and a least-squares fit of each batch.
"""
import argparse
import json
import os
from pathlib import Path

import torch

from benchmarks.lib.plan import ROOT, quiet, start
from benchmarks.studies.cifar10 import Cifar10
from benchmarks.studies.cifar10 import parse_args as parse_study
from benchmarks.studies.study import MIDDLES
from benchmarks.studies.teacher_jobs import device, teacher_and_images

TAP = 'up_blocks.1.resnets.0'


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='data/cifar10_images',
                        help='as of the study (default: %(default)s)')
    parser.add_argument('--dpm', required=True, help='a diffusion model, as '
                        'a diffusers folder')
    parser.add_argument('--labels', nargs='+', type=int, default=[10, 48],
                        help='labels a class (default: 10 48)')
    parser.add_argument('--seeds', type=int, default=8,
                        help='draws of the labels (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=2000,
                        help='of the training (default: %(default)s)')
    parser.add_argument('--out', default='work_dirs/reward_bias',
                        help='folder of the images (default: %(default)s)')
    parser.add_argument('--json', help='file for the figures')
    parser.add_argument('--threads', type=int, help='of the process')
    return parser.parse_args(argv)


def teacher_features(args, progress):
    """Pooled features of the validation images, (T, N, C), and samples."""
    with quiet(Path(args.out, 'log.txt')):
        study = Cifar10(parse_study([
            '--data', args.data, '--dpm', args.dpm, '--out', args.out]))
        cfg = study.distillation('fixed', None, 0, t=0, tap=TAP)
        seen = teacher_and_images(cfg, study.val_images())
    return pooled_features(*seen, TAP, progress)


def pooled_features(teacher, looked, tap, progress):
    """Features of all images at all time steps, (T, N, C), and samples."""
    from repfusion_mm.analysis.look import features_at
    from repfusion_mm.models.losses.pooled import pooled
    features = torch.stack([
        features_at(teacher, looked, t, [tap],
                    lambda feature: pooled(feature.float()), 250,
                    device())[tap][:, 0].cpu()
        for t in progress.track(MIDDLES, description='features')])
    return features, [sample.cpu() for sample in looked.data_samples]


def draw(labels, number, generator):
    """So many images of each class."""
    return torch.cat([
        own[torch.randperm(len(own), generator=generator)[:number]]
        for own in ((labels == one).nonzero()[:, 0]
                    for one in range(int(labels.max()) + 1))])


def each_t(features, samples):
    """What the labels say at each t by itself, as in a look.

    Returns:
        tuple: The Targets, and a HeldOut for each t.
    """
    from repfusion_mm.analysis.look import held_out
    from repfusion_mm.models.rewards.targets import read_targets
    targets = read_targets(samples, (), features.shape[2:])
    return targets, [held_out(x[:, None, None], targets) for x in features]


def rewarded(reward, features, samples, steps, generator):
    """Mean reward by t in a training, its batch's mean subtracted, (T,)."""
    from repfusion_mm.models.rewards.base import RewardInputs
    parameters = list(reward.parameters())
    optimizer = parameters and torch.optim.AdamW(parameters, lr=2e-3,
                                                 weight_decay=0.05)
    total, count = torch.zeros(2, len(features))
    for step in range(steps):
        rows = torch.randint(len(samples), (8, ), generator=generator)
        t = torch.randint(len(features), (8, ), generator=generator)
        value, _, losses = reward(RewardInputs(
            None, t, {TAP: features[t, rows]}, {},
            [samples[row] for row in rows.tolist()]))
        if optimizer:
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
        if step >= steps // 4:  # it has learnt something
            total.index_add_(0, t, value - value.mean())
            count.index_add_(0, t, torch.ones(8))
    return total / count.clamp(min=1)


def main(argv=None):
    args = parse_args(argv)
    os.chdir(ROOT)
    os.makedirs(args.out, exist_ok=True)
    console, progress = start('reward_bias', args.threads)
    from repfusion_mm.registry import MODELS
    with progress:
        features, samples = teacher_features(args, progress)
        labels = torch.cat([sample.gt_label for sample in samples])
        shapes = {TAP: (features.size(2), )}
        classes = int(labels.max()) + 1
        kinds = dict(
            classifier=dict(type='repfusion_mm.ClassificationReward',
                            hidden=()),
            least_squares=dict(type='repfusion_mm.LeastSquaresReward'))
        rows = []
        for number in args.labels:
            found = {name: [] for name in ('each_t', *kinds)}
            for seed in progress.track(range(args.seeds),
                                       description=f'{number} labels'):
                generator = torch.Generator().manual_seed(seed)
                torch.manual_seed(seed)
                chosen = draw(labels, number, generator)
                own = features[:, chosen]
                of = [samples[row] for row in chosen.tolist()]
                found['each_t'].append(torch.stack([
                    one.rewards.mean() for one in each_t(own, of)[1]]))
                for name, cfg in kinds.items():
                    reward = MODELS.build(dict(
                        cfg, num_classes=classes, feature_shapes=shapes))
                    found[name].append(rewarded(
                        reward, own, of, args.steps, generator))
            rows.append(dict(labels=number, seeds=args.seeds, t=MIDDLES, **{
                name: report(values) for name, values in found.items()}))
    print_table(rows, console)
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))


def report(values):
    """Mean over the seeds, its standard error, and each seed's best t."""
    values = torch.stack(values).double()
    own = values - values.mean(1, keepdim=True)
    return dict(
        mean=[round(float(one), 4) for one in own.mean(0)],
        std_error=[round(float(one), 4)
                   for one in own.std(0) / len(own)**0.5],
        best_t=[MIDDLES[int(one)] for one in values.argmax(1)],
        best_t_of_mean=MIDDLES[int(own.mean(0).argmax())])


def print_table(rows, console):
    """The first time steps, and which is the best."""
    from rich.table import Table
    shown = MIDDLES[:5]
    table = Table('labels', 'reward by', *(f't = {t}' for t in shown),
                  'best t', title='reward minus its mean over all t')
    for row in rows:
        for name in ('each_t', 'classifier', 'least_squares'):
            one = row[name]
            table.add_row(
                str(row['labels']), name,
                *(f'{value:+.3f}' for value in one['mean'][:len(shown)]),
                str(one['best_t_of_mean']))
    console.print(table)


if __name__ == '__main__':
    main()
