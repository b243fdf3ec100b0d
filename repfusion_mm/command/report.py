"""What was done and what came out, as one self-contained page."""
import html
import math
from typing import Any, Dict, List

from repfusion_mm.analysis.look import at_chosen
from repfusion_mm.engine.resuming.atomic_write import write_atomically
from repfusion_mm.version import __version__

from .comparison import ARMS
from .figures import (
    draw_comparison,
    draw_look,
    draw_losses,
    draw_quality,
    newest_picture,
    plot,
    read_losses,
    read_quality,
)
from .next_steps import next_steps
from .plan import Plan
from .plan_table import TITLES, in_words
from .rules import LEAST_TESTED
from .students import find_student

STYLE = '''
body { font: 16px/1.5 system-ui, sans-serif; color: #202124;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
main { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); }
figure { margin: 0; padding: 1rem; border: 1px solid #dadce0;
  border-radius: .6rem; } figure h2 { margin-top: 0; font-size: 1.05rem; }
img { width: 100%; } figcaption { color: #5f6368; font-size: .9rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { text-align: left; padding: .25rem 1.2rem .25rem 0;
  border-bottom: 1px solid #e8eaed; font-variant-numeric: tabular-nums; }
pre { background: #f1f3f4; padding: .8rem 1rem; border-radius: .6rem;
  overflow-x: auto; font-size: .85rem; }
'''


def write_report(path: str, plan: Plan, choice: dict, rows: List[dict],
                 stages: Dict[str, dict]) -> None:
    """Write the page.

    Args:
        path (str): Where to.
        plan (Plan): What was done.
        choice (dict): As of :func:`choose`.
        rows (list[dict]): As of :func:`compared`; empty without labels.
        stages (dict[str, dict]): What is finished, with ``seconds``.
    """
    title = f'{find_student(plan.student).title} from a diffusion model'
    figures = ''.join(
        f'<figure><h2>{head}</h2><img alt="{head}" '
        f'src="data:image/png;base64,{picture}">'
        f'<figcaption>{caption}</figcaption></figure>'
        for head, picture, caption in _figures(plan, choice, rows) if picture)
    page = f'''<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p>{html.escape(summary(plan, choice, rows))}</p>
<h2>What was given</h2>{_table(_given(plan))}
{_comparison(plan, rows)}
<main>{figures}</main>
<h2>Where to go from here</h2>
{''.join(f'<p>{html.escape(text)}</p><pre>{html.escape(code)}</pre>'
         for text, code in next_steps(plan))}
<h2>What it took</h2>{_table(_taken(plan, stages))}
<p>Of a stage that was stopped this is the last part.</p>
<p><small>repfusion_mm {__version__}</small></p>
</body></html>
'''
    write_atomically(path, page.encode())


def summary(plan: Plan, choice: dict, rows: List[dict]) -> str:
    """The result in a few sentences.

    Args:
        plan (Plan): What was done.
        choice (dict): As of :func:`choose`.
        rows (list[dict]): As of :func:`compared`; empty without labels.

    Returns:
        str: The sentences.
    """
    at = f't = {choice["t"]}' if plan.time == 'fixed' else \
        'time steps that a policy chose'
    text = f'{find_student(plan.student).title} has learned what a ' \
        f'diffusion model knows of {plan.images:,} images at ' \
        f'{choice["tap"]}, {at}. ' + _got_better(plan)
    if not rows:
        return text + 'There were no labels to say what it is worth; ' \
            '--labels compares it with a classifier from scratch.'
    if _by_chance(max(row['accuracy'] for row in rows) / 100, plan):
        return text + 'The comparison says nothing: no classifier is clear ' \
            f'of chance, {100 / len(plan.classes):.1f} %. More --epochs, or ' \
            'more labelled images, may help.'
    best = max(rows[1:], key=lambda row: row['accuracy'])
    verdict = 'cannot be told from' if plan.test < LEAST_TESTED else \
        'is ahead of' if best['low'] > 0 else \
        'is behind' if best['high'] < 0 else 'cannot be told from'
    return text + f'A classifier that starts from it names ' \
        f'{rows[0]["accuracy"]:.1f} % of the held-out images rightly, and ' \
        f'{verdict} the better one from scratch ({best["accuracy"]:.1f} %).'


def _by_chance(right: float, plan: Plan) -> bool:
    """Whether a guess among the classes is as often right, within errors."""
    chance = 1 / len(plan.classes)
    return right < chance + 2 * math.sqrt(
        chance * (1 - chance) / max(plan.test, 1))


def _got_better(plan: Plan) -> str:
    """What the features were worth before and after the distillation."""
    quality = read_quality(plan.path('distill'))
    if len(quality) < 2:
        return ''
    measure = 'probe' if 'probe' in quality[0] else 'rank'
    first, last = (row[measure] for row in (quality[0], quality[-1]))
    text = f'A linear probe of its features reads {last:.0f} % of the ' \
        f'labels, {first:.0f} % before. ' if measure == 'probe' else \
        f'Its features use {last:.1f} directions, {first:.1f} before. '
    return text if last > first else text + \
        'They are not better than at the start: more --epochs may help. '


def _given(plan: Plan) -> List[tuple]:
    rows = [('images', plan.data),
            ('to distil', f'{plan.images:,}' + (
                ', the labelled ones to learn from among them'
                if plan.classes else '') + f' at {plan.size}x{plan.size} '
             f'pixels (shorter side: {plan.short_side})'),
            ('broken, left out', f'{plan.broken:,}'),
            ('teacher', plan.teacher or 'trained on these images, in '
             + plan.path('dpm', 'dpm'))]
    if plan.amp:
        rows.append(('trained', 'in mixed precision'))
    if plan.classes:
        rows += [('labels', str(plan.labels)),
                 ('labelled', f'{plan.labelled:,} to learn from, '
                  f'{plan.test:,} held out, {len(plan.classes)} classes')]
    return rows


def _comparison(plan: Plan, rows: List[dict]) -> str:
    if not rows:
        return ''
    head = ('classifier', 'steps', 'right, %', 'the distilled one is ahead by',
            '90 % interval')
    body = [(ARMS[row['arm']], f'{plan.steps[row["arm"]]:,}',
             f'{row["accuracy"]:.1f}',
             f'{row["gain"]:+.1f} points' if 'gain' in row else '',
             f'{row["low"]:+.1f} to {row["high"]:+.1f}'
             if 'gain' in row else '') for row in rows]
    seen = 'nothing has seen' if plan.teacher is None else \
        'no training here has seen'
    about = f'One training of each, with seed {plan.seed}: the interval is ' \
        'over the images alone, and another --seed may shift all of it.'
    if plan.teacher is not None:
        about += ' Whether the teacher was trained on them is not known.'
    if 'dpm' in plan.steps:
        about += f' The {plan.steps["dpm"]:,} steps of the diffusion model ' \
            'are in none of these.'
    return f'<h2>On {plan.test:,} images that {seen}</h2>' + \
        _table(body, head) + f'<p>{about}</p>'


def _figures(plan: Plan, choice: dict, rows: List[dict]) -> List[tuple]:
    look = choice['taps'][choice['tap']]
    why = 'The log-probability that a linear regression on the diffusion ' \
        'model\'s features gives to the right class of an image that it was ' \
        f'not fitted to; of these {100 * at_chosen(look, "score"):.0f} % ' \
        'are named rightly at the t that is taken.' \
        if choice['rewarded'] == 'labels' else \
        'Without labels: the share of high frequencies in the features.' \
        if choice['rewarded'] == 'frequency' else \
        'Without labels: how well an image\'s other view is found.'
    figures = [(
        'Why this time step', plot(draw_look, choice),
        f'{why} Taken is {choice["tap"]} at t = {choice["t"]}, where its '
        'smoothed worth is greatest' + (
            ', together with the effective rank of its features.'
            if 'rank' in look else '.'))]
    if rows:
        figures.append((
            'The comparison', plot(draw_comparison, rows, ARMS),
            f'{plan.test:,} held-out images, seed {plan.seed}.'))
    for folder, head in (('dpm', 'Training the diffusion model'),
                         ('distill', 'Distillation')):
        losses = read_losses(plan.path(folder))
        if losses:
            figures.append((head, plot(draw_losses, {head: losses}),
                            'The loss over the steps.'))
    quality = read_quality(plan.path('distill'))
    if quality:
        measure = 'probe' if 'probe' in quality[0] else 'rank'
        figures.append((
            'Do the features get better?',
            plot(draw_quality, quality, measure),
            'What a linear probe reads of the labels, in percent, of the '
            'labelled images; it never saw those that it predicts.'
            if measure == 'probe' else
            f'How many directions the features of {plan.watched} images use '
            'that are not distilled (RankMe); more is better.'))
    losses_of = {ARMS[row['arm']]: read_losses(plan.path(
        'classifiers', row['arm'])) for row in rows}
    if all(losses_of.values()) and losses_of:
        figures.append(('Training the classifiers',
                        plot(draw_losses, losses_of), 'The loss over the '
                        'steps.'))
    if plan.teacher is None:
        figures.append((
            'Samples of the diffusion model',
            newest_picture(plan.path('dpm'), 'dpm_samples'),
            'Drawn from noise: what the teacher has learned without a label.'))
    return figures


def _taken(plan: Plan, stages: Dict[str, dict]) -> List[tuple]:
    return [(TITLES[name], f'{plan.steps[name]:,} steps'
             if name in plan.steps else '',
             in_words(stages[name]['seconds']))
            for name in TITLES if name in stages]


def _table(rows: List[tuple], head: Any = ()) -> str:
    lines = [''.join(f'<th>{html.escape(cell)}</th>' for cell in head)] \
        if head else []
    lines += [''.join(f'<td>{html.escape(cell)}</td>' for cell in row)
              for row in rows]
    return '<table>' + ''.join(f'<tr>{line}</tr>' for line in lines) + \
        '</table>'
