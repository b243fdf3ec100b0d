import json
from pathlib import Path

import pytest

from repfusion_mm.command.report import summary

CHOICE = dict(tap='mid', t=75)


@pytest.fixture
def plan(make_plan, labels):
    plan = make_plan(labels=labels)
    plan.classes, plan.test = list('0123456789'), 100
    return plan


def rows(distilled, scratch, low=-5., high=5.):
    return [dict(arm='distilled', accuracy=distilled)] + [
        dict(arm=arm, accuracy=scratch, gain=distilled - scratch, low=low,
             high=high) for arm in ('scratch', 'scratch_long')]


@pytest.mark.parametrize('low, high, says', [
    (1., 9., 'is ahead of'), (-9., -1., 'is behind'),
    (-1., 9., 'cannot be told from')])
def test_verdict(plan, low, high, says):
    text = summary(plan, CHOICE, rows(50., 45., low, high))
    assert f'50.0 % of the held-out images rightly, and {says} the better ' \
        'one from scratch (45.0 %)' in text
    assert f'{plan.images} images at mid, t = 75' in text


@pytest.mark.parametrize('best, void', [(10., True), (15., True),
                                        (17., False)])
def test_chance(plan, best, void):
    """Of 100 images and 10 classes a guess names 10 rightly, and errs by 3."""
    text = summary(plan, CHOICE, rows(10., best))
    assert ('The comparison says nothing' in text) == void
    assert ('10.0 %. More --epochs' in text) == void


@pytest.mark.parametrize('measure, last, says', [
    ('probe', 60., 'reads 60 % of the labels, 30 % before. A classifier'),
    ('probe', 25., 'reads 25 % of the labels, 30 % before. They are not bet'),
    ('rank', 31., 'use 31.0 directions, 30.0 before. A classifier')])
def test_features(plan, measure, last, says):
    path = Path(plan.path('distill', 'feature_quality.jsonl'))
    path.parent.mkdir()
    path.write_text(''.join(json.dumps({measure: value}) + '\n'
                            for value in (30., 90., last)))
    assert says in summary(plan, CHOICE, rows(50., 45.))


def test_without_labels(make_plan):
    assert '--labels compares it' in summary(make_plan(), CHOICE, [])
