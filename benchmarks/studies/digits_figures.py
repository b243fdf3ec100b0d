"""The figures of the report on the digits, and how its arms look in them."""
import base64
import io

import numpy as np

NAMES = dict(
    scratch='from scratch', scratch_long='from scratch, longer',
    fixed_t0='distilled, t = 0', fixed='distilled, best fixed t',
    uniform='distilled, uniform t', reinforced='distilled, reinforced t',
    blind='distilled, reinforced t, no look first',
    constant='distilled, reinforced t, image not seen',
    joint='joint', joint_balanced='joint, balanced',
    joint_strong='joint, weight 5')
COLOURS = dict(scratch='#9aa0a6', scratch_long='#5f6368', fixed_t0='#e8a33d',
               fixed='#d93025', uniform='#4c8bf5', reinforced='#1a7f4b',
               blind='#a142f4', constant='#00838f')
MORE_COLOURS = ('#795548', '#c2185b')


def arm_name(init):
    """What an arm is called in the report."""
    if init in NAMES:
        return NAMES[init]
    kind, _, t = init.partition('_t')
    return f'distilled, t = {t}' + (', bank' if kind == 'bank' else '')


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
    draw_accuracy(axes[0], report)
    draw_probe(axes[1], report)
    if records:
        draw_policy(axes[2], records)
    figure.savefig(path, dpi=100)


def plot(draw, *what):
    figure, axes = _figure()
    draw(axes, *what)
    return _encoded(figure)


def draw_accuracy(axes, report):
    labels = list(dict.fromkeys(
        row['labels_per_class'] for row in report['results']))
    arms = list(dict.fromkeys(row['init'] for row in report['results']))
    width, named = 0.8 / len(arms), set()
    values = {(row['labels_per_class'], row['init']): row['accuracy']
              for row in report['results']}
    for index, arm in enumerate(arms):
        for place, number in enumerate(labels):
            x = place + (index - (len(arms) - 1) / 2) * width
            accuracy = values.get((number, arm), [])
            if not accuracy:  # an arm of the fewest labels alone
                continue
            colour = COLOURS.get(
                arm, MORE_COLOURS[index % len(MORE_COLOURS)])
            axes.hlines(np.mean(accuracy), x - width / 3, x + width / 3,
                        color=colour, lw=4,
                        label=None if arm in named else arm_name(arm))
            named.add(arm)
            axes.plot([x] * len(accuracy), accuracy, 'o', color=colour,
                      markersize=5, alpha=0.5)
    axes.set_xticks(range(len(labels)), [str(n) for n in labels])
    axes.set(xlabel='labels a class', ylabel='accuracy, %')
    axes.legend(fontsize=8, ncols=2, loc='lower center',
                bbox_to_anchor=(0.5, 1))


def draw_probe(axes, report):
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


def draw_policy(axes, records):
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


def samples_plot(teacher):
    from repfusion_mm.models.dpm.sample_grid import sample_grid
    from repfusion_mm.models.teachers.diffusion.sources.unet2d import (
        DiffusersFolder,
    )
    folder = DiffusersFolder(teacher, None)
    figure, axes = _figure(4, 4)
    axes.imshow(sample_grid(folder.read(), folder.scheduler, 64, 50),
                cmap='gray')
    axes.set_axis_off()
    return _encoded(figure)
