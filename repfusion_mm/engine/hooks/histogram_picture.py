"""A histogram as a picture, drawn in well under a millisecond.

In the middle of a training step there is no time for Matplotlib, which takes
a hundred times as long.
"""
from typing import Sequence

import cv2
import numpy as np

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 450, 28, 250  # of the axes
BLUE, BLACK = (31, 119, 180), (0, 0, 0)


def histogram_picture(shares: Sequence[float], end: int) -> np.ndarray:
    """Bars over time steps, with labelled axes.

    Args:
        shares (Sequence[float]): Height of each bar, from 0 to 1. The bars
            are equally wide, and together reach from 0 to ``end``.
        end (int): Number of time steps.

    Returns:
        np.ndarray: RGB, uint8, (300, 480, 3).
    """
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    highest = max(shares) or 1.
    edges = np.linspace(LEFT, RIGHT, len(shares) + 1).round().astype(int)
    for share, left, right in zip(shares, edges, edges[1:]):
        # the highest leaves a little room
        height = round((BOTTOM - TOP) * 0.95 * share / highest)
        if height:
            picture[BOTTOM - height:BOTTOM, left:right - 1] = BLUE
    cv2.rectangle(picture, (LEFT, TOP), (RIGHT, BOTTOM), BLACK)
    for tick in range(5):
        x = LEFT + (RIGHT - LEFT) * tick // 4
        cv2.line(picture, (x, BOTTOM), (x, BOTTOM + 4), BLACK)
        _write(picture, f'{end * tick / 4:g}', x, BOTTOM + 17)
    for share in (0., highest):
        y = BOTTOM - round((BOTTOM - TOP) * 0.95 * share / highest)
        cv2.line(picture, (LEFT - 4, y), (LEFT, y), BLACK)
        _write(picture, f'{share:.2f}', LEFT - 28, y + 4)
    _write(picture, 'time step t', (LEFT + RIGHT) // 2, HEIGHT - 10)
    _write(picture, 'share', LEFT, TOP - 10)
    return picture


def _write(picture: np.ndarray, text: str, x: int, y: int) -> None:
    """Some text with its middle at x and its foot at y, in pixels."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, _), _ = cv2.getTextSize(text, font, size, 1)
    cv2.putText(picture, text, (x - width // 2, y), font, size, BLACK, 1,
                cv2.LINE_AA)
