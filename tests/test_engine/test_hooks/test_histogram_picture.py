import sys

import cv2
import numpy as np
import pytest

import repfusion_mm.engine.hooks.histogram_picture as module
from repfusion_mm.engine.hooks.histogram_picture import histogram_picture

SHARES = [0.1, 0., 0.6, 0.3]


def heights(picture, bars):
    """Pixels of each bar, read from its middle column."""
    width = (module.RIGHT - module.LEFT) / bars
    columns = [round(module.LEFT + width * (i + 0.5)) for i in range(bars)]
    return [(picture[:, column] == module.BLUE).all(1).sum()
            for column in columns]


@pytest.mark.parametrize('shares', [
    SHARES, [1 / 20] * 20, [0.] * 19 + [1.], [0.] * 20,
    np.random.default_rng(0).dirichlet(np.ones(20)).tolist()])
def test_bars(shares):
    picture = histogram_picture(shares, 1000)
    assert picture.dtype == np.uint8 and picture.shape == (300, 480, 3)
    found = heights(picture, len(shares))
    highest = max(found)
    if not any(shares):
        assert highest == 0
        return
    assert 200 < highest < module.BOTTOM - module.TOP
    for share, height in zip(shares, found):
        assert abs(height - highest * share / max(shares)) <= 2


def test_written(monkeypatch):
    """What a reader needs to know the axes."""
    texts = []
    write = cv2.putText

    def kept(picture, text, *args):
        texts.append(text)
        write(picture, text, *args)

    monkeypatch.setattr(cv2, 'putText', kept)
    picture = histogram_picture(SHARES, 1000)
    assert texts == ['0', '250', '500', '750', '1000', '0.00', '0.60',
                     'time step t', 'share']
    # inside the picture, below and beside the axes
    assert (picture[module.BOTTOM + 8:] < 128).any()
    assert (picture[:, :module.LEFT - 5] < 128).any()
    assert (picture[[0, -1]] == 255).all()
    assert (picture[:, [0, -1]] == 255).all()


def test_without_matplotlib(monkeypatch):
    for name in list(sys.modules):
        if name.split('.')[0] == 'matplotlib':
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    histogram_picture(SHARES, 1000)
