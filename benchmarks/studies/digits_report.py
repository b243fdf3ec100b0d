"""The report of benchmarks/studies/digits.py: a page, a table, a JSON file."""
import json
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.lib.paired import (
    interval_text,
    lower_bound,
    paired_difference,
    same_seeds,
)
from benchmarks.lib.versions import versions
from benchmarks.studies.digits_figures import arm_name, write_picture
from benchmarks.studies.digits_page import bound_text, page, std

# what decides, with 2 labels a class: the one-sided 95 % bound of reinforced
# minus this arm has to be above this many points
DECISIVE = dict(fixed=-1.5, uniform=0., scratch=0., scratch_long=0.)
DECISIVE_LABELS = 2


def write_report(study, results, fixed, probe):
    """Write report.json, .html and .png; returns what the JSON holds.

    Args:
        study (Study): The study.
        results (list[dict]): Of each number of labels and arm, by seed.
        fixed (dict): How the best fixed t was found, by number of labels.
        probe (list[dict]): The linear probe over t.
    """
    records = _policy_records(results)
    final = records[-1] if records else None
    report = dict(
        results=[{key: value for key, value in row.items()
                  if key != 'drawn'} for row in results],
        differences=differences(results),
        decisions=decisions(results),
        best_fixed=fixed,
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

    Of reinforced t over all others, of a feature bank over the same t
    without one, and of joint training over scratch, on the seeds that both
    have. Each has a 95 percent interval
    of Student's t over the seeds, and its one-sided lower bound.
    """
    rows = []
    for one in results:
        for other in results:
            if one['labels_per_class'] != other['labels_per_class'] or \
                    one is other or not _compared(one['init'], other['init']):
                continue
            pair = same_seeds(one, other, 'accuracy')
            mean, interval = paired_difference(*pair)
            rows.append(dict(
                labels_per_class=one['labels_per_class'], of=one['init'],
                over=other['init'], seeds=len(pair[0]), mean=mean,
                interval=interval, lower_bound=lower_bound(*pair)))
    return rows


def decisions(results):
    """Which of the bounds of ``DECISIVE`` are met."""
    rows = [row for row in differences(results)
            if row['of'] == 'reinforced' and row['over'] in DECISIVE
            and row['labels_per_class'] == DECISIVE_LABELS
            and row['lower_bound'] is not None]
    return [dict(over=row['over'], above=DECISIVE[row['over']],
                 seeds=row['seeds'], lower_bound=row['lower_bound'],
                 met=row['lower_bound'] > DECISIVE[row['over']])
            for row in rows]


def _compared(init, other):
    return init == 'reinforced' or \
        init.startswith('bank_t') and other == init.replace('bank', 'fixed') \
        or init.startswith('joint') and other.startswith('scratch')


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
    table = Table('labels a class', 'of', 'over', 'seeds', 'points',
                  '95 % interval', 'one-sided bound',
                  title='paired differences')
    for row in report['differences']:
        table.add_row(str(row['labels_per_class']), arm_name(row['of']),
                      arm_name(row['over']), str(row['seeds']),
                      f'{row["mean"]:+.1f}', interval_text(row['interval']),
                      bound_text(row['lower_bound']))
    console.print(table)
    for row in report['decisions']:
        console.print(
            f'reinforced minus {arm_name(row["over"])}: above '
            f'{row["lower_bound"]:+.2f} on {row["seeds"]} seeds, wanted '
            f'{row["above"]:+.1f}: {"met" if row["met"] else "missed"}')
    for labels, found in report['best_fixed'].items():
        tried = ', '.join(f't = {t}: {accuracy:.1f}'
                          for t, accuracy in found['trained'].items())
        console.print(f'Best fixed t with {labels} labels a class: '
                      f'{found["t"]} ({tried} on validation)')
    peak = report['probe_peak']
    console.print(
        f'Linear probe: best at t = {peak["t"]}, {peak["accuracy"]:.1f} %, '
        f'{peak["lead_over_first"]:+.1f} over the first t and '
        f'{peak["lead_over_last"]:+.1f} over the last (standard errors '
        f'{peak["lead_over_first_std_error"]}, '
        f'{peak["lead_over_last_std_error"]})')


def _policy_records(results):
    """The policy's records over training, averaged over the seeds."""
    runs = next((row['drawn'] for row in results
                 if row['init'] == 'reinforced' and 'drawn' in row), [])
    return [
        dict(iter=same[0]['iter'],
             mean_t=round(float(np.mean([r['mean_t'] for r in same])), 1),
             histogram=np.mean([r['histogram'] for r in same],
                               axis=0).round(4).tolist())
        for same in zip(*runs)]
