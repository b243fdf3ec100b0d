"""Pictures of what was measured."""
import os
import os.path as osp
from typing import Any, Sequence

import numpy as np


def new_figure(width: float, height: float) -> Any:
    """A figure that needs no screen.

    Args:
        width (float): In inches.
        height (float): In inches.

    Returns:
        matplotlib.figure.Figure: Empty.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str, dpi: int = 150) -> None:
    """Write a figure; its folder is made.

    Args:
        figure (matplotlib.figure.Figure): The figure.
        path (str): A picture's.
        dpi (int): Pixels an inch. Defaults to 150.
    """
    os.makedirs(osp.dirname(osp.abspath(path)), exist_ok=True)
    figure.savefig(path, dpi=dpi)


def draw_rank(axes: Any, record: dict) -> None:
    """Draw the effective rank that a look has heard, on an axis of its own.

    Args:
        axes (matplotlib.axes.Axes): With the worth over t.
        record (dict): As of ``Look.record``; without a rank nothing is drawn.
    """
    if 'rank' in record:
        other = axes.twinx()
        other.plot(record['t'], record['rank'], color='grey', linewidth=0.8)
        other.set_ylabel('effective rank', color='grey')


def heat_map(axes: Any, values: np.ndarray, columns: Sequence[Any],
             rows: Sequence[str], label: str, digits: int = 0,
             limits: Sequence[Any] = (None, None)) -> None:
    """Draw a table of numbers in colours.

    Args:
        axes (matplotlib.axes.Axes): Where to.
        values (np.ndarray): (R, C), NaN where there is none.
        columns (Sequence): C names.
        rows (Sequence[str]): R names.
        label (str): What the numbers are.
        digits (int): Behind the point; a map of more than 240 numbers shows
            colours alone. Defaults to 0.
        limits (Sequence): Numbers of the darkest and the brightest colour.
            Defaults to the least and the largest.
    """
    image = axes.imshow(values, aspect='auto', vmin=limits[0],
                        vmax=limits[1])
    axes.set_xticks(range(len(columns)), [str(one) for one in columns],
                    fontsize=7, rotation=90 if len(columns) > 16 else 0)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.figure.colorbar(image, ax=axes, label=label)
    if values.size > 240:
        return
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(column, row, f'{value:.{digits}f}', ha='center',
                      va='center', fontsize=6,
                      color='black' if image.norm(value) > 0.6 else 'white')


def image_rows(figure: Any, rows: Sequence[Sequence[np.ndarray]],
               titles: Sequence[str] = (),
               names: Sequence[str] = ()) -> None:
    """Draw a table of images, each as large as its place.

    Args:
        figure (matplotlib.figure.Figure): Is filled.
        rows (Sequence[Sequence[np.ndarray]]): Images, RGB, uint8, (H, W, 3).
        titles (Sequence[str]): Of the columns.
        names (Sequence[str]): Of the rows.
    """
    axes = figure.subplots(len(rows), max(map(len, rows)), squeeze=False)
    for one in axes.flat:
        one.set(xticks=[], yticks=[])
        one.set_frame_on(False)
    for images, line in zip(rows, axes):
        for image, one in zip(images, line):
            one.imshow(image, interpolation='nearest')
    for title, one in zip(titles, axes[0]):
        one.set_title(title, fontsize=7)
    for name, one in zip(names, axes[:, 0]):
        one.set_ylabel(name, fontsize=7, rotation=0, ha='right', va='center')
