"""The report of benchmarks/cifar10.py: a table, a picture, a JSON file."""
import json

import numpy as np
from paired import interval_text, paired_difference
from plan import versions

NAMES = dict(
    scratch='from scratch',
    scratch_long='from scratch, as many steps as both stages',
    classifier='distilled from a classifier of the same labels',
    fixed='distilled, best fixed t', uniform='distilled, uniform t',
    reinforced='distilled, reinforced t',
    constant='distilled, reinforced t, blind policy',
    contrastive='distilled, reinforced t, contrastive reward')
COLOURS = dict(
    scratch='#9aa0a6', scratch_long='#5f6368', classifier='#795548',
    fixed='#e8a33d', uniform='#4c8bf5', reinforced='#1a7f4b',
    constant='#00838f', contrastive='#a142f4')


def write_report(study, accuracy, tried, console=None):
    """Write report.json and report.png; print the table where asked to.

    Args:
        study (Study): What was run.
        accuracy (dict): Test accuracies in percent by (percent of labels,
            arm), one a seed.
        tried (dict): Validation accuracies by fixed t.
        console (rich.console.Console, optional): Where to print.
    """
    first = study.args.first_seed
    results = [
        dict(labels_percent=percent, arm=arm,
             seeds=list(range(first, first + len(values))), accuracy=values)
        for (percent, arm), values in accuracy.items()]
    report = dict(
        size=study.args.size, results=results,
        differences=differences(accuracy),
        fixed_t_validation=tried,
        policy=policy_means(study, accuracy),
        seconds={stage: round(value, 1)
                 for stage, value in study.seconds.items()},
        versions=versions())
    (study.out / 'report.json').write_text(json.dumps(report, indent=1))
    draw(results, study.out / 'report.png')
    if console is not None:
        print_table(report, console)
    return report


def differences(accuracy):
    """Paired differences: every arm over scratch, reinforced over all."""
    rows = []
    for (percent, arm), values in accuracy.items():
        for other in NAMES:
            base = accuracy.get((percent, other))
            if base is None or other == arm or not (
                    other == 'scratch' or arm == 'reinforced'):
                continue
            seeds = min(len(values), len(base))  # of a run that goes on
            mean, interval = paired_difference(values[:seeds], base[:seeds])
            rows.append(dict(labels_percent=percent, of=arm, over=other,
                             mean=mean, interval=interval))
    return rows


def policy_means(study, accuracy):
    """Mean t that each learning arm drew last, by seed."""
    means = {}
    for percent, arm in accuracy:
        if arm not in ('reinforced', 'constant', 'contrastive'):
            continue
        paths = [study.jobs / f'distill_{arm}_{percent}percent_seed{seed}' /
                 'time_steps.jsonl'
                 for seed in range(study.args.first_seed,
                                   study.args.first_seed + study.args.seeds)]
        means[f'{arm}, {percent} %'] = [
            json.loads(path.read_text().splitlines()[-1])['mean_t']
            for path in paths if path.exists()]
    return means


def print_table(report, console):
    """The report's tables in the terminal."""
    from rich.table import Table
    table = Table('labels, %', 'start of the fine-tuning', 'accuracy, %',
                  'std', 'each seed', title='test accuracy')
    for row in report['results']:
        values = row['accuracy']
        spread = f'{np.std(values, ddof=1):.1f}' if len(values) > 1 else ''
        table.add_row(str(row['labels_percent']), NAMES[row['arm']],
                      f'{np.mean(values):.1f}', spread,
                      ' '.join(f'{value:.1f}' for value in values))
    console.print(table)
    table = Table('labels, %', 'of', 'over', 'points', '95 % interval',
                  title='paired differences')
    for row in report['differences']:
        table.add_row(str(row['labels_percent']), NAMES[row['of']],
                      NAMES[row['over']], f'{row["mean"]:+.1f}',
                      interval_text(row['interval']))
    console.print(table)


def draw(results, path):
    """Accuracy by arm and share of labels: a bar for the mean, dots."""
    from matplotlib.figure import Figure
    percents = list(dict.fromkeys(row['labels_percent'] for row in results))
    figure = Figure(figsize=(9, 4), layout='constrained')
    panels = figure.subplots(1, len(percents), squeeze=False)[0]
    for axes, percent in zip(panels, percents):
        rows = [row for row in results if row['labels_percent'] == percent]
        for place, row in enumerate(rows):
            colour = COLOURS[row['arm']]
            axes.hlines(place, min(row['accuracy']), max(row['accuracy']),
                        color=colour, alpha=0.4)
            axes.plot(row['accuracy'], [place] * len(row['accuracy']), 'o',
                      color=colour, alpha=0.6, markersize=5)
            axes.plot(np.mean(row['accuracy']), place, '|', color=colour,
                      markersize=18, markeredgewidth=3)
        axes.set_yticks(range(len(rows)), [row['arm'] for row in rows])
        axes.invert_yaxis()
        axes.set(title=f'{percent} % of the labels', xlabel='accuracy, %')
        axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=120)
