"""The report on the digits as one self-contained page."""
import numpy as np

from benchmarks.lib.paired import interval_text
from benchmarks.studies.digits_figures import (
    arm_name,
    draw_accuracy,
    draw_policy,
    draw_probe,
    plot,
    samples_plot,
)


def std(values):
    """Over the seeds; NaN of a single one."""
    return np.std(values, ddof=1) if len(values) > 1 else float('nan')


def bound_text(bound):
    """A one-sided lower bound as it is printed."""
    return '' if bound is None else f'above {bound:+.1f}'


def page(report, records, teacher):
    """The report as one self-contained page."""
    pictures = [
        ('What the distilled backbones reach', plot(draw_accuracy, report),
         'Accuracy after fine-tuning on the few labels: lines are means, dots '
         'are seeds. All distilled arms of a seed saw the same batches, and '
         'no labels but those of the fine-tuning.'),
        ('Which t tells most: a linear probe', plot(draw_probe, report),
         'Accuracy of a logistic regression on the diffusion model\'s own '
         'features z(t), with one standard error.'),
    ]
    if records:
        pictures.append((
            'Which t the policy draws, over training',
            plot(draw_policy, records),
            'Share of the time steps drawn; brighter is more. Before the '
            'training the policy looked at the labelled images at all time '
            'steps; it does not know the curve above.'))
    pictures.append((
        'Samples of the diffusion model', samples_plot(teacher),
        'Drawn from noise in 50 DDIM steps: what the teacher has learned '
        'without a label.'))
    figures = ''.join(
        f'<figure><h2>{title}</h2><img alt="{title}" src="data:image/png;'
        f'base64,{picture}"><figcaption>{caption}</figcaption></figure>'
        for title, picture, caption in pictures)
    rows = ''.join(
        f'<tr><td>{row["labels_per_class"]}</td><td>{arm_name(row["init"])}'
        f'</td><td>{np.mean(row["accuracy"]):.1f}</td>'
        f'<td>{std(row["accuracy"]):.1f}</td><td>'
        + ', '.join(f'{value:.1f}' for value in row['accuracy'])
        + '</td></tr>' for row in report['results'])
    gains = ''.join(
        f'<tr><td>{row["labels_per_class"]}</td><td>{arm_name(row["of"])}'
        f'</td><td>{arm_name(row["over"])}</td><td>{row["mean"]:+.1f}</td>'
        f'<td>{interval_text(row["interval"])}</td>'
        f'<td>{bound_text(row["lower_bound"])}</td></tr>'
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
fixed, drawn uniformly, or chosen by a policy that looks at the few labelled
images at all time steps first, and goes on by reinforcement. The
ResNet is then fine-tuned on a few labels, beside one from scratch.</p>
<main>{figures}</main>
<h2>{report['split'].capitalize()} accuracy, percent</h2>
<table><tr><th>labels a class</th><th>fine-tuned</th><th>mean</th>
<th>std</th><th>each seed</th></tr>{rows}</table>
<h2>One start over another, points, paired by seed</h2>
<table><tr><th>labels a class</th><th>of</th><th>over</th><th>mean</th>
<th>95 % interval</th><th>one-sided bound</th></tr>{gains}</table>
<p><small>Time: {seconds}. {versions}.</small></p>
</body></html>
'''
