import argparse

import pytest

from repfusion_mm.arguments.options import count


def test_count():
    assert count('3') == 3
    for text in ('0', '-1', '1.5', 'a', ''):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}'"):
            count(text)
