"""The report of benchmarks/studies/digits.py: a page, a table, a JSON file."""
import json
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.lib.paired import interval_text, paired_difference
from benchmarks.lib.versions import versions
from benchmarks.studies.digits_figures import arm_name, write_picture
from benchmarks.studies.digits_page import page, std


def write_report(study, results, probe):
    """Write report.json, .html and .png; returns what the JSON holds."""
    records = _policy_records(study)
    final = records[-1] if records else None
    report = dict(
        results=results,
        differences=differences(results),
        split=study.args.split,
        probe=[{key: row[key] for key in ('t', 'accuracy', 'std_error')}
               for row in probe],
        probe_peak=probe_peak(probe),
        policy=None if final is None else dict(
            mean_t=final['mean_t'], histogram=final['histogram']),
        seconds={stage: round(seconds, 1)
                 for stage, seconds in study.seconds.items()},
        versions=versions())
    out = Path(study.args.out)
    (out / 'report.json').write_text(json.dumps(report, indent=1))
    write_picture(report, records, out / 'report.png')
    (out / 'report.html').write_text(page(report, records, study.teacher))
    return report


def differences(results):
    """Paired differences between the arms of each number of labels.

    Of reinforced t over all others, and of a feature bank over the same t
    without one. Each has a 95 percent interval of Student's t over the seeds.
    """
    rows = []
    for result in results:
        for other in results:
            if result['labels_per_class'] != other['labels_per_class'] or \
                    result is other or not _compared(result['init'],
                                                     other['init']):
                continue
            mean, interval = paired_difference(result['accuracy'],
                                               other['accuracy'])
            rows.append(dict(
                labels_per_class=result['labels_per_class'],
                of=result['init'], over=other['init'], mean=mean,
                interval=interval))
    return rows


def _compared(init, other):
    return init == 'reinforced' or \
        init.startswith('bank_t') and other == init.replace('bank', 'fixed')


def probe_peak(probe):
    """The probe's best t, and its paired lead over both ends of the range."""
    best = max(probe, key=lambda row: row['accuracy'])
    peak = dict(t=best['t'], accuracy=best['accuracy'])
    for name, end in (('first', probe[0]), ('last', probe[-1])):
        lead = np.subtract(best['per_seed'], end['per_seed'])
        peak[f'lead_over_{name}'] = round(float(lead.mean()), 2)
        peak[f'lead_over_{name}_std_error'] = round(
            float(stats.sem(lead)), 2) if len(lead) > 1 else None
    return peak


def print_table(report, console):
    """The report's tables in the terminal."""
    from rich.table import Table
    table = Table('labels a class', 'fine-tuned', 'accuracy, %', 'std',
                  'each seed', title=f'{report["split"]} accuracy')
    for row in report['results']:
        table.add_row(
            str(row['labels_per_class']), arm_name(row['init']),
            f'{np.mean(row["accuracy"]):.1f}', f'{std(row["accuracy"]):.1f}',
            ' '.join(f'{value:.1f}' for value in row['accuracy']))
    console.print(table)
    table = Table('labels a class', 'of', 'over', 'points', '95 % interval',
                  title='paired differences')
    for row in report['differences']:
        table.add_row(str(row['labels_per_class']), arm_name(row['of']),
                      arm_name(row['over']), f'{row["mean"]:+.1f}',
                      interval_text(row['interval']))
    console.print(table)
    peak = report['probe_peak']
    console.print(
        f'Linear probe: best at t = {peak["t"]}, {peak["accuracy"]:.1f} %, '
        f'{peak["lead_over_first"]:+.1f} over the first t and '
        f'{peak["lead_over_last"]:+.1f} over the last (standard errors '
        f'{peak["lead_over_first_std_error"]}, '
        f'{peak["lead_over_last_std_error"]})')


def _policy_records(study):
    """The policy's records over training, averaged over the seeds."""
    args = study.args
    paths = [
        study.jobs / f'distill_reinforced_{args.labels[0]}labels_seed{seed}'
        / 'time_steps.jsonl'
        for seed in range(args.first_seed, args.first_seed + args.seeds)]
    runs = [[json.loads(line) for line in path.read_text().splitlines()]
            for path in paths if path.exists()]
    if not runs:
        return []
    return [
        dict(iter=same[0]['iter'],
             mean_t=round(float(np.mean([r['mean_t'] for r in same])), 1),
             histogram=np.mean([r['histogram'] for r in same],
                               axis=0).round(4).tolist())
        for same in zip(*runs)]
