"""From a diffusion model to a better backbone, on real handwritten digits.

Everything runs through the public configs and the Runner: a diffusion model
is trained (or the shipped one taken) and probed over t; for each seed a
backbone is distilled by each arm, fine-tuned on the few labelled images and
tested. The arms of a seed see the same batches and the same labels. Finished
jobs are kept in <out>/jobs and not run again, nor are those whose scores lie
in benchmarks/results/digits_records.jsonl. Several processes may share <out>.
"""
import argparse
import os
import os.path as osp
import time
from pathlib import Path

from benchmarks.lib.plan import ROOT, quiet, start, tool
from benchmarks.studies.digits_study import CONFIGS, POLICIES, Study

OTHER_SEEDS = 4  # other policies are run on so many


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='work_dirs/demo',
                        help='folder of results (default: %(default)s)')
    parser.add_argument('--labels', nargs='+', default=['2'],
                        help='labels a class, numbers or "all" (default: 2)')
    parser.add_argument('--seeds', type=int, default=5,
                        help='number of seeds (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=10,
                        help='the seeds count from here (default: 10; 0 to 9 '
                        'chose the settings, on val)')
    parser.add_argument(
        '--arms', nargs='+', default=['scratch', 'fixed_t0', 'uniform',
                                      'reinforced'],
        help='what the fine-tuning starts from: scratch, scratch_long (as '
        'many steps as both stages), fixed_t<N>, fixed (the best fixed t, '
        'found with the validation labels), bank_t<N> (t = N from a feature '
        'bank of whole images), uniform, reinforced, joint, joint_balanced '
        'and joint_strong (both stages at once); at the first of '
        f'--labels, with {OTHER_SEEDS} seeds: blind (a policy that does not '
        'look first), constant (one that does not see the image) and settled '
        '(one that starts from the look nearly settled, and learns slowly by '
        'HeldOutReward) '
        '(default: %(default)s)')
    parser.add_argument('--split', choices=['val', 'test'], default='test',
                        help='what is predicted: val to choose settings, '
                        'test (default) to report them')
    parser.add_argument('--part', type=part, default=(0, 1),
                        help='i/n: of n processes that share --out this one '
                        'takes every n-th seed first, from the i-th on '
                        '(default: 0/1)')
    parser.add_argument('--train-dpm', action='store_true',
                        help='train the diffusion model (20 minutes) instead '
                        'of taking the shipped one')
    parser.add_argument('--threads', type=int,
                        help='threads of this process (default: torch\'s)')
    return parser.parse_args(argv)


def part(text):
    index, number = map(int, text.split('/'))
    if not 0 <= index < number:
        raise ValueError
    return index, number


def make_jobs(args):
    """Labels, seed and arm of each job: own seeds first, seed by seed."""
    index, number = args.part
    places = sorted(range(args.seeds), key=lambda i: i % number != index)
    return [(labels, args.first_seed + place, arm)
            for labels in args.labels for place in places for arm in args.arms
            if arm not in POLICIES or
            labels == args.labels[0] and place < OTHER_SEEDS]


def main(argv=None):
    args = parse_args(argv)
    os.chdir(ROOT)  # the configs name their files from here
    from benchmarks.studies.digits_report import print_table, write_report
    console, progress = start('digits', args.threads)
    Path(args.out).mkdir(parents=True, exist_ok=True)

    jobs = make_jobs(args)
    with progress:
        bar = progress.add_task('diffusion model', total=len(jobs) + 2)
        teacher, seconds = CONFIGS / 'dpm_digits', None
        if args.train_dpm:
            teacher = Path(args.out, 'dpm', 'dpm')
            begun = time.time()
            if not teacher.exists():
                with quiet(Path(args.out, 'log.txt')):
                    tool('train')([str(CONFIGS / 'dpm_unet_digits.py'),
                                   '--work-dir', str(Path(args.out, 'dpm'))])
            seconds = time.time() - begun
        study = Study(args, teacher)
        if seconds is not None:
            study.took('dpm', 'dpm', seconds)
        progress.update(bar, advance=1, description='linear probe over t')
        probe = study.probe(args.split)
        progress.advance(bar)
        scores, fixed = {}, {}
        for labels, seed, arm in jobs:
            progress.update(
                bar, description=f'{arm}, {labels} labels a class, '
                f'seed {seed}')
            trained = arm
            if arm == 'fixed':
                if labels not in fixed:
                    fixed[labels] = study.best_fixed(labels)
                trained = f'fixed_t{fixed[labels]["t"]}'
            scores[labels, arm, seed] = study.finetune(trained, labels, seed)
            progress.advance(bar)
        progress.update(bar, description='done')

    study.took('total', 'total', sum(study.seconds.values()))
    report = write_report(study, make_results(scores), fixed, probe)
    print_table(report, console)
    console.print(f'The report is {osp.join(args.out, "report.html")}')
    return report


def make_results(scores):
    """One row for each number of labels and arm, its seeds in order."""
    rows = {}
    for (labels, arm, seed), score in sorted(
            scores.items(), key=lambda item: item[0][2]):
        row = rows.setdefault((labels, arm), dict(
            init=arm, labels_per_class=labels if labels == 'all' else
            int(labels), seeds=[], accuracy=[]))
        row['seeds'].append(seed)
        row['accuracy'].append(score['accuracy'])
        if 'drawn' in score:
            row.setdefault('looked', []).append(score['looked'])
            row.setdefault('drawn', []).append(score['drawn'])
    return [rows[one] for one in dict.fromkeys(
        (labels, arm) for labels, arm, _ in scores)]


if __name__ == '__main__':
    main()
