import pytest
from torch import nn

from repfusion_mm.models.losses.checks import (
    check_count,
    check_images,
    check_number,
)


def test_numbers():
    check_number('a', 1e-9)
    check_number('a', 2)
    check_number('a', 0, zero=True)


@pytest.mark.parametrize('value', [0, -1., float('inf'), float('nan'), '1',
                                   None])
def test_no_number(value):
    with pytest.raises(ValueError, match=f'`loss.tau`.*above 0, got '
                                         f'{value!r}'):
        check_number('tau', value)


@pytest.mark.parametrize('value', [-1e-9, float('inf'), float('nan'), '0'])
def test_not_even_zero(value):
    with pytest.raises(ValueError, match=f'`loss.w`.*at least 0, got '
                                         f'{value!r}'):
        check_number('w', value, zero=True)


@pytest.mark.parametrize('value', [0, -3, 1.5, '2', None])
def test_no_count(value):
    check_count('hidden', 1)
    with pytest.raises(ValueError, match=f'`loss.hidden`.*got {value!r}'):
        check_count('hidden', value)


def test_too_few_images():
    loss = nn.ReLU()
    loss.least_images = 3
    check_images(loss, 3)
    with pytest.raises(ValueError, match=r'connections.loss. ReLU .*at least '
                                         r'3 a process, got 2.*'
                                         r'train_dataloader.batch_size'):
        check_images(loss, 2)
