"""Report of a dense study, as study_report.py is of the others."""
import json

from benchmarks.lib.paired import paired_difference
from benchmarks.lib.policy import read_policy
from benchmarks.lib.versions import versions
from benchmarks.studies.study_report import (
    NAMES,
    draw,
    print_differences,
    print_scores,
)

LABELS = 'labels_percent'


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
    draw(results, metrics, study.out / 'report.png',
         lambda percent: f'{percent} % of the labels', LABELS)
    if console is not None:
        for metric in metrics:
            print_scores(results, metric, console, LABELS)
            print_differences(report['differences'], metric, console, LABELS)
    return report


def differences(results, metric):
    """Paired differences: every arm over the two baselines from scratch.

    The policy's also over all its like, and the joint arm's over all others.
    """
    values = {(row['labels_percent'], row['arm']): row[metric]
              for row in results}
    rows = []
    for (percent, arm), one in values.items():
        for other in NAMES:
            base = values.get((percent, other))
            if base is None or arm in (other, 'scratch') or not (
                    other in ('scratch', 'scratch_long') or arm == 'joint'
                    or (arm == 'reinforced' and other != 'joint')):
                continue
            seeds = min(len(one), len(base))  # of a run that goes on
            mean, interval = paired_difference(one[:seeds], base[:seeds])
            rows.append(dict(
                metric=metric, labels_percent=percent, of=arm, over=other,
                seeds=seeds, mean=mean, interval=interval))
    return rows


def policy_means(study, scores):
    """Mean t that each policy drew last, by seed."""
    first, means = study.args.first_seed, {}
    for percent, arm in scores:
        if arm != 'reinforced':
            continue
        drawn = [read_policy(study.jobs / study.job_name(
            'distill', arm, percent, seed))[1]
            for seed in range(first, first + study.args.seeds)]
        means[f'{arm}, {percent} %'] = [
            steps[-1]['mean_t'] for steps in drawn if steps]
    return means
