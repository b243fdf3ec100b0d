from pathlib import Path

import pytest

from repfusion_mm.command.labels import find_labelled
from repfusion_mm.command.plan_error import PlanError
from tests.test_command.digit_folders import of_classes, write_digits


def test_a_share_of_each_class(labels):
    found = find_labelled(labels, 0.25)
    assert found.classes == ['class 0', 'class 1', 'class 2']
    for label in range(3):
        train, test = ([path for path, one in pairs if one == label]
                       for pairs in (found.train, found.test))
        assert (len(train), len(test)) == (6, 2)
        assert not set(train) & set(test)
        assert all(f'class {label}' in path for path in train + test)
    assert find_labelled(labels, 0.25) == found  # each time the same


def test_at_least_one(labels):
    found = find_labelled(labels, 0.001)
    assert len(found.test) == 3


def test_train_and_val(tmp_path):
    for split, first in (('train', 0), ('val', 600)):
        write_digits(tmp_path / split, of_classes((4, 5), 3, first), True)
    found = find_labelled(str(tmp_path), 0.2)
    assert found.classes == ['class 4', 'class 5']
    assert len(found.train) == len(found.test) == 6
    assert all(f'{tmp_path}/train/' in path for path, _ in found.train)
    assert all(f'{tmp_path}/val/' in path for path, _ in found.test)
    write_digits(tmp_path / 'val', of_classes((6, ), 2, 0), True)
    with pytest.raises(PlanError, match=r"only one has \['class 6'\]"):
        find_labelled(str(tmp_path), 0.2)


def test_too_few(labels, tmp_path):
    with pytest.raises(PlanError, match='--labels is .* no folder'):
        find_labelled(str(tmp_path / 'nowhere'), 0.2)
    for path in sorted(Path(labels, 'class 1').iterdir())[1:]:
        path.unlink()
    with pytest.raises(PlanError, match=r"\['class 1'\] there are fewer than "
                       '2 images'):
        find_labelled(labels, 0.2)
    alone = write_digits(tmp_path / 'alone', of_classes((1, ), 4), True)
    with pytest.raises(PlanError, match='at least 2 classes'):
        find_labelled(alone, 0.2)


def test_one_to_learn_from_stays(labels):
    assert len(find_labelled(labels, 0.99).train) == 3


def test_other_names_of_parts(tmp_path):
    """They are no classes; a class of such a name is one."""
    for split, first in (('train', 0), ('valid', 600)):
        write_digits(tmp_path / 'parts' / split, of_classes((4, 5), 3, first),
                     True)
    with pytest.raises(PlanError, match='train/ with folders inside, but not '
                       'both train/ and val/'):
        find_labelled(str(tmp_path / 'parts'), 0.2)
    whole = write_digits(tmp_path / 'whole', of_classes((4, 5), 3), True)
    Path(whole, 'class 4').rename(Path(whole, 'train'))  # and a bus
    assert find_labelled(whole, 0.2).classes == ['class 5', 'train']
