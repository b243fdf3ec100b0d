"""Report of a dense study, as study_report.py is of the others."""
import json

import numpy as np

from benchmarks.lib.paired import interval_text, paired_difference
from benchmarks.lib.versions import versions

NAMES = dict(
    scratch='from scratch',
    scratch_long='from scratch, as many steps as both stages',
    classifier='distilled from a classifier of the same labels',
    fixed='distilled, best fixed t',
    bank='distilled, best fixed t, feature bank',
    uniform='distilled, uniform t',
    reinforced='distilled, reinforced t',
    constant='distilled, reinforced t, blind policy',
    contrastive='distilled, reinforced t, contrastive reward',
    joint='distilled while it is trained, reinforced t')
COLOURS = dict(
    scratch='#9aa0a6', scratch_long='#5f6368', classifier='#795548',
    fixed='#e8a33d', bank='#d93025', uniform='#4c8bf5', reinforced='#1a7f4b',
    constant='#00838f', contrastive='#a142f4', joint='#c5221f')
LEARNING = ('reinforced', 'constant', 'contrastive')  # of t, in stage 1


def write_report(study, scores, tried, console=None):
    """Write report.json and report.png; print the tables where asked to.

    Args:
        study (Study): What was run.
        scores (dict): Scores by (percent of labels, arm): one a seed, each a
            dict by metric.
        tried (dict): Validation scores by arm and what was tried for it.
        console (rich.console.Console, optional): Where to print.
    """
    first = study.args.first_seed
    metrics = list(next(iter(scores.values()))[0])
    results = [
        dict(labels_percent=percent, arm=arm,
             seeds=list(range(first, first + len(values))),
             **{metric: [value[metric] for value in values]
                for metric in metrics})
        for (percent, arm), values in scores.items()]
    report = dict(
        size=study.args.size, results=results,
        differences=[row for metric in metrics
                     for row in differences(results, metric)],
        validation=tried,
        policy=policy_means(study, scores),
        seconds={stage: round(value, 1)
                 for stage, value in study.seconds.items()},
        versions=versions(*study.libraries))
    (study.out / 'report.json').write_text(json.dumps(report, indent=1))
    draw(results, metrics, study.out / 'report.png')
    if console is not None:
        print_tables(report, metrics, console)
    return report


def differences(results, metric):
    """Paired differences: every arm over the two baselines from scratch.

    What learns t in stage 1 also over all its like, and the joint arm over
    all others; and a feature bank over the same t without one.
    """
    values = {(row['labels_percent'], row['arm']): row[metric]
              for row in results}
    rows = []
    for (percent, arm), one in values.items():
        for other in NAMES:
            base = values.get((percent, other))
            if base is None or arm in (other, 'scratch') or not (
                    other in ('scratch', 'scratch_long') or arm == 'joint'
                    or (arm == 'reinforced' and other != 'joint')
                    or (arm, other) == ('bank', 'fixed')):
                continue
            seeds = min(len(one), len(base))  # of a run that goes on
            mean, interval = paired_difference(one[:seeds], base[:seeds])
            rows.append(dict(metric=metric, labels_percent=percent, of=arm,
                             over=other, mean=mean, interval=interval))
    return rows


def policy_means(study, scores):
    """Mean t that each learning arm drew last, by seed."""
    means = {}
    for percent, arm in scores:
        if arm not in LEARNING:
            continue
        paths = [study.jobs / f'distill_{arm}_{percent}percent_seed{seed}' /
                 'time_steps.jsonl'
                 for seed in range(study.args.first_seed,
                                   study.args.first_seed + study.args.seeds)]
        means[f'{arm}, {percent} %'] = [
            json.loads(path.read_text().splitlines()[-1])['mean_t']
            for path in paths if path.exists()]
    return means


def print_tables(report, metrics, console):
    """The report's tables in the terminal."""
    from rich.table import Table
    for metric in metrics:
        table = Table('labels, %', 'start of the fine-tuning', metric, 'std',
                      'each seed', title=f'{metric}, test')
        for row in report['results']:
            values = row[metric]
            spread = f'{np.std(values, ddof=1):.1f}' if len(values) > 1 \
                else ''
            table.add_row(str(row['labels_percent']), NAMES[row['arm']],
                          f'{np.mean(values):.1f}', spread,
                          ' '.join(f'{value:.1f}' for value in values))
        console.print(table)
        table = Table('labels, %', 'of', 'over', 'points', '95 % interval',
                      title=f'{metric}, paired differences')
        for row in report['differences']:
            if row['metric'] == metric:
                table.add_row(str(row['labels_percent']), NAMES[row['of']],
                              NAMES[row['over']], f'{row["mean"]:+.1f}',
                              interval_text(row['interval']))
        console.print(table)


def draw(results, metrics, path):
    """Scores by arm and share of labels: a bar for the mean, dots."""
    from matplotlib.figure import Figure
    percents = list(dict.fromkeys(row['labels_percent'] for row in results))
    figure = Figure(figsize=(9, 4 * len(metrics)), layout='constrained')
    grid = figure.subplots(len(metrics), len(percents), squeeze=False)
    for metric, panels in zip(metrics, grid):
        for axes, percent in zip(panels, percents):
            rows = [row for row in results
                    if row['labels_percent'] == percent]
            for place, row in enumerate(rows):
                colour, values = COLOURS[row['arm']], row[metric]
                axes.hlines(place, min(values), max(values), color=colour,
                            alpha=0.4)
                axes.plot(values, [place] * len(values), 'o', color=colour,
                          alpha=0.6, markersize=5)
                axes.plot(np.mean(values), place, '|', color=colour,
                          markersize=18, markeredgewidth=3)
            axes.set_yticks(range(len(rows)), [row['arm'] for row in rows])
            axes.invert_yaxis()
            axes.set(title=f'{percent} % of the labels',
                     xlabel=f'{metric}, %')
            axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=120)
