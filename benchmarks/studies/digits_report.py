"""The report of benchmarks/studies/digits.py: a page, a table, a JSON file."""
import base64
import io
import json
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.lib.paired import interval_text, paired_difference
from benchmarks.lib.plan import versions

NAMES = dict(
    scratch='from scratch', fixed_t0='distilled, t = 0',
    uniform='distilled, uniform t', reinforced='distilled, reinforced t')
COLOURS = dict(scratch='#9aa0a6', fixed_t0='#e8a33d', uniform='#4c8bf5',
               reinforced='#1a7f4b')
MORE_COLOURS = ('#a142f4', '#d93025', '#795548', '#00838f')


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
    (out / 'report.html').write_text(_page(report, records, study.teacher))
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


def arm_name(init):
    """What an arm is called in the report."""
    if init in NAMES:
        return NAMES[init]
    kind, _, t = init.partition('_t')
    return f'distilled, t = {t}' + (', bank' if kind == 'bank' else '')


def print_table(report, console):
    """The report's tables in the terminal."""
    from rich.table import Table
    table = Table('labels a class', 'fine-tuned', 'accuracy, %', 'std',
                  'each seed', title=f'{report["split"]} accuracy')
    for row in report['results']:
        table.add_row(
            str(row['labels_per_class']), arm_name(row['init']),
            f'{np.mean(row["accuracy"]):.1f}', f'{_std(row["accuracy"]):.1f}',
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


def _std(values):
    return np.std(values, ddof=1) if len(values) > 1 else float('nan')


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


def _page(report, records, teacher):
    """The report as one self-contained page."""
    pictures = [
        ('What the distilled backbones reach', _plot(_draw_accuracy, report),
         'Accuracy after fine-tuning on the few labels: lines are means, dots '
         'are seeds. All distilled arms of a seed saw the same batches, and '
         'no labels but those of the fine-tuning.'),
        ('Which t tells most: a linear probe', _plot(_draw_probe, report),
         'Accuracy of a logistic regression on the diffusion model\'s own '
         'features z(t), with one standard error.'),
    ]
    if records:
        pictures.append((
            'Which t the policy draws, over training',
            _plot(_draw_policy, records),
            'Share of the time steps drawn; brighter is more. The policy '
            'starts without knowing anything of the curve above.'))
    pictures.append((
        'Samples of the diffusion model', _samples_plot(teacher),
        'Drawn from noise in 50 DDIM steps: what the teacher has learned '
        'without a label.'))
    figures = ''.join(
        f'<figure><h2>{title}</h2><img alt="{title}" src="data:image/png;'
        f'base64,{picture}"><figcaption>{caption}</figcaption></figure>'
        for title, picture, caption in pictures)
    rows = ''.join(
        f'<tr><td>{row["labels_per_class"]}</td><td>{arm_name(row["init"])}'
        f'</td><td>{np.mean(row["accuracy"]):.1f}</td>'
        f'<td>{_std(row["accuracy"]):.1f}</td><td>'
        + ', '.join(f'{value:.1f}' for value in row['accuracy'])
        + '</td></tr>' for row in report['results'])
    gains = ''.join(
        f'<tr><td>{row["labels_per_class"]}</td><td>{arm_name(row["of"])}'
        f'</td><td>{arm_name(row["over"])}</td><td>{row["mean"]:+.1f}</td>'
        f'<td>{interval_text(row["interval"])}</td></tr>'
        for row in report['differences'])
    seconds = ', '.join(f'{stage} {value:.0f} s'
                        for stage, value in report['seconds'].items())
    versions = ', '.join(f'{name} {value}'
                         for name, value in report['versions'].items())
    return f'''<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>RepFusion on handwritten digits</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #202124;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.7rem; }} h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem; }}
figure h2 {{ margin-top: 0; }}
main {{ display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); }}
figure {{ margin: 0; padding: 1rem; border: 1px solid #dadce0;
  border-radius: .6rem; }}
img {{ width: 100%; }} figcaption {{ color: #5f6368; font-size: .9rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
td, th {{ text-align: left; padding: .25rem .9rem .25rem 0;
  border-bottom: 1px solid #e8eaed; font-variant-numeric: tabular-nums; }}
</style></head><body>
<h1>A diffusion model distilled into a better backbone</h1>
<p>A diffusion model has only ever denoised scikit-learn's handwritten digits.
Its features are distilled into a small ResNet-18, at time steps that are
fixed, drawn uniformly, or chosen by a policy that learns by reinforcement. The
ResNet is then fine-tuned on a few labels, beside one from scratch.</p>
<main>{figures}</main>
<h2>{report['split'].capitalize()} accuracy, percent</h2>
<table><tr><th>labels a class</th><th>fine-tuned</th><th>mean</th>
<th>std</th><th>each seed</th></tr>{rows}</table>
<h2>One start over another, points, paired by seed</h2>
<table><tr><th>labels a class</th><th>of</th><th>over</th><th>mean</th>
<th>95 % interval</th></tr>{gains}</table>
<p><small>Time: {seconds}. {versions}.</small></p>
</body></html>
'''


def _figure(width=6, height=3.8):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _encoded(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, format='png')
    return base64.b64encode(buffer.getvalue()).decode()


def write_picture(report, records, path):
    """The report's three curves side by side, for a README."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(15, 4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3 if records else 2)
    _draw_accuracy(axes[0], report)
    _draw_probe(axes[1], report)
    if records:
        _draw_policy(axes[2], records)
    figure.savefig(path, dpi=100)


def _plot(draw, *what):
    figure, axes = _figure()
    draw(axes, *what)
    return _encoded(figure)


def _draw_accuracy(axes, report):
    labels = list(dict.fromkeys(
        row['labels_per_class'] for row in report['results']))
    arms = list(dict.fromkeys(row['init'] for row in report['results']))
    width = 0.8 / len(arms)
    values = {(row['labels_per_class'], row['init']): row['accuracy']
              for row in report['results']}
    for index, arm in enumerate(arms):
        for place, number in enumerate(labels):
            x = place + (index - (len(arms) - 1) / 2) * width
            accuracy = values[number, arm]
            colour = COLOURS.get(
                arm, MORE_COLOURS[index % len(MORE_COLOURS)])
            axes.hlines(np.mean(accuracy), x - width / 3, x + width / 3,
                        color=colour, lw=4,
                        label=arm_name(arm) if place == 0 else None)
            axes.plot([x] * len(accuracy), accuracy, 'o', color=colour,
                      markersize=5, alpha=0.5)
    axes.set_xticks(range(len(labels)), [str(n) for n in labels])
    axes.set(xlabel='labels a class', ylabel='accuracy, %')
    axes.legend(fontsize=8, ncols=2, loc='lower center',
                bbox_to_anchor=(0.5, 1))


def _draw_probe(axes, report):
    rows = report['probe']
    axes.errorbar([row['t'] for row in rows],
                  [row['accuracy'] for row in rows],
                  [row['std_error'] for row in rows], marker='o', capsize=3,
                  color='#1a7f4b')
    if report['policy']:
        axes.axvline(report['policy']['mean_t'], color='#9aa0a6', ls='--')
        axes.annotate('the policy\'s mean t',
                      (report['policy']['mean_t'], axes.get_ylim()[0]),
                      xytext=(4, 6), textcoords='offset points', fontsize=8)
    axes.set(xlabel='time step t', ylabel='linear-probe accuracy, %')


def _draw_policy(axes, records):
    picture = np.array([record['histogram'] for record in records]).T
    image = axes.imshow(
        picture, origin='lower', aspect='auto', cmap='viridis',
        extent=(0, records[-1]['iter'], 0, 1000))
    axes.plot([record['iter'] for record in records],
              [record['mean_t'] for record in records], color='white',
              lw=1.5, label='mean t')
    axes.legend(fontsize=8, facecolor='#5f6368', labelcolor='white')
    axes.set(xlabel='iteration', ylabel='time step t')
    axes.figure.colorbar(image, ax=axes, label='share')


def _samples_plot(teacher):
    from diffusers import DDPMPipeline

    from repfusion_mm.models.dpm.sample_grid import sample_grid
    pipeline = DDPMPipeline.from_pretrained(teacher)
    figure, axes = _figure(4, 4)
    axes.imshow(sample_grid(pipeline.unet, pipeline.scheduler, 64, 50),
                cmap='gray')
    axes.set_axis_off()
    return _encoded(figure)
