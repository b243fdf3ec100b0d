from typing import Annotated, Any, Dict, Optional, Sequence, Union

import numpy as np
import pytest
from mmengine.config import ConfigDict
from torch import nn

from repfusion_mm.arguments.annotations import (
    AtLeast,
    Count,
    Index,
    Pair,
    Positive,
    Size,
    Weight,
    misfit,
    words,
)

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize('annotation, values', [
    (int, [0, -3, 2**32 - 1, np.int64(3)]),
    (float, [0, -1, 0.5, np.float32(2)]),
    (bool, [True, False]),
    (str, ['', 'a']),
    (dict, [{}, ConfigDict(a=1), nn.ReLU()]),
    (Optional[int], [None, 3]),
    (Union[int, str], [3, 'a']),
    (Sequence[int], [[], [1], (1, 2), range(3), ConfigDict(a=[1]).a]),
    (Dict[str, int], [{}, dict(a=1)]),
    (nn.Module, [nn.ReLU()]),
    (Any, [None, 3, 'a']),
    ('unknown', [None, 3]),
    (Count, [1, 7]), (Index, [0, 1]), (Weight, [0, 0., 3]),
    (Positive, [1e-9, 3]), (Pair, [(1, 2), [3, 4]]), (Size, [3, (4, 5)]),
])
def test_fits(annotation, values):
    for value in values:
        assert misfit(value, annotation) is None, value


@pytest.mark.parametrize('annotation, values', [
    (int, [True, 1., '1', None, [1], NAN]),
    (float, [True, '1', None, NAN, INF, -INF, [1.]]),
    (bool, [0, 1, 'True', None]),
    (str, [3, None, ['a']]),
    (dict, [None, 3, 'a', [], True, [('a', 1)]]),
    (Optional[int], ['a', 0.5]),
    (Sequence[int], ['12', 3, None, {1: 2}, {1}]),
    (nn.Module, [3, nn.ReLU]),
    (Count, [0, -1, 1.5]), (Index, [-1]), (Weight, [-1e-9, NAN]),
    (Positive, [0, 0.]), (Pair, [(1, ), (1, 2, 3), 3]),
    (Size, [0, (1, )]),
])
def test_does_not_fit(annotation, values):
    for value in values:
        found = misfit(value, annotation)
        assert found.path == '' and found.value is value, value
        assert found.expected == words(annotation)


@pytest.mark.parametrize('value, annotation, path, wrong, expected', [
    ([1, 'a'], Sequence[int], '[1]', 'a', 'a whole number'),
    ([8, 0], Sequence[Count], '[1]', 0, 'a whole number of at least 1'),
    ([8, 0], Size, '[1]', 0, 'a whole number of at least 1'),
    (dict(a='x'), Dict[str, int], '.a', 'x', 'a whole number'),
    (dict(a=[1, None]), Dict[str, Union[int, Sequence[int]]], '.a[1]', None,
     'a whole number')])
def test_where(value, annotation, path, wrong, expected):
    assert misfit(value, annotation)[:3] == (path, wrong, expected)


@pytest.mark.parametrize('value, annotation, expected', [
    (2**62, int, 'a whole number up to 2**32'),
    (-2**62, int, 'a whole number up to 2**32'),
    (2**62, Count, 'a whole number up to 2**32'),
    (2**62, Optional[Count], 'a whole number up to 2**32'),
    (1e300, Positive, 'a finite number up to 3.4e38')])
def test_beyond_all_use(value, annotation, expected):
    assert misfit(value, annotation)[:3] == ('', value, expected)


@pytest.mark.parametrize('annotation, text', [
    (Optional[Count], 'a whole number of at least 1, or None'),
    (Annotated[float, AtLeast(2, itself=False)], 'a finite number above 2'),
    (Sequence[dict], 'a list of dicts'),
    (Pair, 'a list of whole numbers of at least 1 (2 of them)'),
    (Union[bool, dict], 'True or False, or a dict')])
def test_words(annotation, text):
    assert words(annotation) == text
