"""The figures of the report."""
import base64
import io
import json
from pathlib import Path
from typing import Any, Callable, Dict, List

from repfusion_mm.analysis.figures import draw_rank, new_figure

GREEN, GREY = '#1a7f4b', '#9aa0a6'


def plot(draw: Callable, *what: Any, width: float = 6.) -> str:
    """Draw a figure.

    Args:
        draw (Callable): Draws ``what`` into axes.
        *what (Any): Handed over.
        width (float): In inches. Defaults to 6.

    Returns:
        str: A PNG file, in base64.
    """
    figure = new_figure(width, 3.6)
    draw(figure.subplots(), *what)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120, format='png')
    return base64.b64encode(buffer.getvalue()).decode()


def draw_look(axes: Any, choice: dict) -> None:
    """What each time step is worth, at each tap."""
    for tap, look in choice['taps'].items():
        chosen = tap == choice['tap']
        axes.plot(look['t'], look['smoothed'], marker='.', label=tap,
                  lw=2.5 if chosen else 0.8, color=GREEN if chosen else None)
    axes.axvline(choice['t'], color=GREY, ls='--')
    axes.set(xlabel='time step t', ylabel=dict(
        labels='log-probability of the right class',
        frequency='share of high frequencies').get(
            choice['rewarded'], f'worth, by {choice["rewarded"]}'))
    if len(choice['taps']) > 1:
        axes.legend(fontsize='x-small')
    draw_rank(axes, choice['taps'][choice['tap']])


def draw_losses(axes: Any, losses: Dict[str, List[tuple]]) -> None:
    """The losses of some trainings over their steps."""
    for (name, points), colour in zip(losses.items(),
                                      (GREEN, '#5f6368', '#4c8bf5')):
        axes.plot(*zip(*points), label=name, color=colour)
    axes.set(xlabel='step', ylabel='loss', yscale='log')
    if len(losses) > 1:
        axes.legend(fontsize='x-small')


def draw_quality(axes: Any, rows: List[dict], measure: str) -> None:
    """A measure of the student's features over its steps."""
    axes.plot([row['iter'] for row in rows], [row[measure] for row in rows],
              marker='.', color=GREEN)
    axes.set(xlabel='step', ylabel=measure)


def draw_comparison(axes: Any, rows: List[dict], names: dict) -> None:
    """Accuracy of each arm."""
    rows = rows[::-1]
    axes.barh([names[row['arm']] for row in rows],
              [row['accuracy'] for row in rows],
              color=[GREEN if row['arm'] == 'distilled' else GREY
                     for row in rows])
    for place, row in enumerate(rows):
        axes.annotate(f' {row["accuracy"]:.1f}', (row['accuracy'], place),
                      va='center')
    axes.set(xlabel='held-out images named rightly, %', xlim=(
        0, 1.2 * max(row['accuracy'] for row in rows) + 1))


def read_losses(work_dir: str) -> List[tuple]:
    """The losses that a training logged, however often it was resumed.

    Args:
        work_dir (str): Of the training.

    Returns:
        list[tuple[int, float]]: Step and loss.
    """
    found = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            row = json.loads(line) if line.endswith('}') else {}
            if 'loss' in row and row.get('step'):
                found[row['step']] = row['loss']
    return sorted(found.items())


def read_quality(work_dir: str) -> List[dict]:
    """What ``FeatureQualityHook`` measured; empty if it was not there."""
    path = Path(work_dir, 'feature_quality.jsonl')
    return [json.loads(line) for line in path.read_text().splitlines()] \
        if path.exists() else []


def newest_picture(work_dir: str, name: str) -> str:
    """A picture of the visualizer's, in base64; empty if there is none."""
    found = sorted(Path(work_dir).glob(f'*/vis_data/vis_image/{name}_*.png'))
    return base64.b64encode(found[-1].read_bytes()).decode() if found else ''
