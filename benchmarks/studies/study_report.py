"""Report of a study of a single task: a table, differences, a picture."""
import json

import numpy as np

from benchmarks.lib.paired import (
    interval_text,
    lower_bound,
    paired_difference,
    same_seeds,
)
from benchmarks.lib.versions import versions

NAMES = dict(
    scratch='random weights',
    scratch_long='random weights, steps of both stages',
    classifier='distilled from a classifier of the same labels',
    t0='distilled at t = 0',
    uniform='distilled, uniform t',
    fixed='distilled, best fixed t',
    auto='distilled, t by a look',
    constant='distilled, reinforced t, no look at the images',
    reinforced='distilled, reinforced t',
    joint='distilled while it is trained, reinforced t')
COLOURS = dict(
    scratch='#9aa0a6', scratch_long='#5f6368', classifier='#795548',
    t0='#a142f4', fixed='#e8a33d', uniform='#4c8bf5', reinforced='#1a7f4b',
    auto='#d81b60', constant='#00838f', joint='#c5221f')


def write_report(study, scores, console=None):
    """Write report.json and report.png; print the tables where asked to.

    Args:
        study (Study): What was run.
        scores (dict): By (labels, arm): scores by seed, each a dict by
            metric. Others come from the study's ``beside``.
        console (rich.console.Console, optional): Where to print.
    """
    if not scores:
        return None
    metrics = list(study.parts('test'))
    results = []
    for (labels, arm), values in scores.items():
        row = dict(labels=labels, arm=arm, seeds=sorted(values))
        for key in (*metrics, 'stage_1'):
            found = [values[seed].get(key) for seed in row['seeds']]
            if any(one is not None for one in found):
                row[key] = found
        results.append(row)
    results += of_before(study.beside, results, metrics)
    report = dict(
        size=study.args.size, results=results,
        differences=[row for metric in metrics
                     for row in differences(results, metric)],
        decided=decisions(results, study),
        chosen=study.record(),
        seconds={stage: round(value, 1)
                 for stage, value in study.seconds.items()},
        versions=versions(*study.libraries))
    (study.out / 'report.json').write_text(json.dumps(report, indent=1))
    draw(results, metrics, study.out / 'report.png',
         lambda labels: f'labels: {labels} {study.labels_of}')
    if console is not None:
        print_tables(report, metrics, console)
    return report


def of_before(rows, results, metrics):
    """The arms of an earlier report that were not run anew, on these seeds.

    Args:
        rows (Sequence[dict]): Its results.
        results (Sequence[dict]): Those of now.
        metrics (Sequence[str]): Of the study.

    Returns:
        list[dict]: Results that say that they are of before, ``beside``.
    """
    seeds = {seed for row in results for seed in row['seeds']}
    anew = {(row['labels'], row['arm']) for row in results}
    found = []
    for row in rows:
        places = [place for place, seed in enumerate(row['seeds'])
                  if seed in seeds]
        if (row['labels'], row['arm']) not in anew and places:
            found.append(dict(row, beside=True, **{
                key: [row[key][place] for place in places]
                for key in ('seeds', *metrics, 'stage_1') if key in row}))
    return found


def pairs(results, metric):
    """Scores of two arms of the same seeds: by labels, arm and arm."""
    found = {}
    for one in results:
        for other in results:
            if one is other or one['labels'] != other['labels']:
                continue
            pair = same_seeds(one, other, metric)
            if pair[0]:
                found[one['labels'], one['arm'], other['arm']] = pair
    return found


def differences(results, metric):
    """Paired differences of every distilled arm over every other."""
    rows, order = [], list(NAMES)
    for (labels, arm, other), (one, base) in pairs(results, metric).items():
        if arm.startswith('scratch') or order.index(other) > order.index(arm):
            continue
        mean, interval = paired_difference(one, base)
        rows.append(dict(metric=metric, labels=labels, of=arm, over=other,
                         seeds=len(one), mean=mean, interval=interval))
    return rows


def decisions(results, study):
    """Which of the study's criteria are met."""
    sign, rows = 1 if study.higher_is_better else -1, []
    found = pairs(results, study.metric)
    for criterion in study.criteria:
        for labels in dict.fromkeys(row['labels'] for row in results):
            known = [other for other in criterion.over
                     if (labels, criterion.of, other) in found]
            if not known:
                continue
            other = max(known, key=lambda name: sign * np.mean(
                found[labels, criterion.of, name][1]))
            one, base = (sign * np.array(values) for values in
                         found[labels, criterion.of, other])
            if criterion.relative:
                percent = 100 / abs(np.mean(base))
                one, base = one * percent, base * percent
            low = lower_bound(one, base)
            rows.append(dict(
                labels=labels, of=criterion.of, over=other, seeds=len(one),
                mean=round(float(np.mean(one - base)), 2), bound=low,
                above=criterion.above, relative=criterion.relative,
                met=None if low is None else low > criterion.above))
    return rows


def print_tables(report, metrics, console):
    """The report's tables in the terminal."""
    for metric in metrics:
        print_scores(report['results'], metric, console)
        print_differences(report['differences'], metric, console)
    print_decisions(report['decided'], console)


def print_scores(results, metric, console):
    """The table of all scores.

    Args:
        results (list[dict]): Of each number of labels and arm.
        metric (str): What is shown.
        console (rich.console.Console): Where to print.
    """
    from rich.table import Table
    table = Table('labels', 'start of the fine-tuning', metric, 'std',
                  'each seed', title=f'{metric}, test')
    for row in results:
        values = row[metric]
        spread = f'{np.std(values, ddof=1):.1f}' if len(values) > 1 else ''
        table.add_row(str(row['labels']), NAMES[row['arm']],
                      f'{np.mean(values):.1f}', spread,
                      ' '.join(f'{value:.1f}' for value in values))
    console.print(table)


def print_differences(rows, metric, console):
    """The table of the paired differences, alike."""
    from rich.table import Table
    table = Table('labels', 'of', 'over', 'seeds', 'points', '95 % interval',
                  title=f'{metric}, paired differences')
    for row in rows:
        if row['metric'] == metric:
            table.add_row(
                str(row['labels']), NAMES[row['of']], NAMES[row['over']],
                str(row['seeds']), f'{row["mean"]:+.1f}',
                interval_text(row['interval']))
    console.print(table)


def print_decisions(rows, console):
    """The table of what decides."""
    from rich.table import Table
    table = Table('labels', 'of', 'over the better of', 'seeds', 'gain',
                  '95 % above', 'wanted above', 'met',
                  title='what decides, one-sided')
    for row in rows:
        table.add_row(
            str(row['labels']), row['of'], row['over'], str(row['seeds']),
            f'{row["mean"]:+.1f}', *([''] if row['bound'] is None else
                                     [f'{row["bound"]:+.1f}']),
            f'{row["above"]:+.1f}{" %" if row["relative"] else ""}',
            {None: '', True: 'yes', False: 'no'}[row['met']])
    console.print(table)


def draw(results, metrics, path, title):
    """Scores by arm and number of labels: a bar for the mean, dots.

    Args:
        results (list[dict]): Of each number of labels and arm.
        metrics (Sequence[str]): A row of panels for each.
        path (Path): Of the picture.
        title (Callable): Names a panel, given the labels.
    """
    from matplotlib.figure import Figure
    numbers = list(dict.fromkeys(row['labels'] for row in results))
    figure = Figure(figsize=(9, 4 * len(metrics)), layout='constrained')
    grid = figure.subplots(len(metrics), len(numbers), squeeze=False)
    for metric, panels in zip(metrics, grid):
        for axes, number in zip(panels, numbers):
            rows = [row for row in results if row['labels'] == number]
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
            axes.set(title=title(number), xlabel=f'{metric}, %')
            axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=120)
