import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from repfusion_mm.command.plan_error import PlanError
from tests.test_command.digit_folders import of_classes, write_digits


def listed(plan, name):
    path = Path(plan.list(name))
    return path.read_text().splitlines() if path.exists() else []


def test_without_labels(make_plan, digits):
    plan = make_plan()
    assert (plan.images, plan.size, plan.watched) == (48, 16, 0)
    assert plan.steps == dict(distill=1) and set(plan.seconds) == {
        'distill', 'choice'}
    assert plan.teacher and len(listed(plan, 'distill')) == 48
    # the choice: 64 images at 20 time steps, by batches of 48
    assert plan.seconds['choice'] == pytest.approx(0.5 * 64 * 20 / 48)


def test_a_diffusion_model_first(make_plan):
    plan = make_plan(teacher=None)
    assert plan.steps == dict(dpm=4, distill=1)
    assert plan.megabytes == round(1.7 * 20 + 10) + 1


def test_held_out_images_are_nowhere_else(make_plan, labels, digits):
    """Though a copy of one, and a link to another, are among the others."""
    plan = make_plan(labels=labels)
    test = [line.rsplit(' ', 1)[0] for line in listed(plan, 'test')]
    assert (plan.labelled, plan.test, plan.images) == (18, 6, 48 + 18)
    shutil.rmtree(plan.out)
    shutil.copy(test[0], Path(digits, 'copy.png'))
    Path(digits, 'link.png').symlink_to(test[1])
    again = make_plan(labels=labels)
    assert again.copies == 2 and again.images == plan.images
    assert [line.rsplit(' ', 1)[0] for line in listed(again, 'test')] == test
    contents = {Path(path).read_bytes() for path in test}
    for name in ('distill', 'labelled', 'watched'):
        for line in listed(again, name):
            path = line.rsplit(' ', 1)[0] if name == 'labelled' else line
            assert Path(path).read_bytes() not in contents


def test_labels_within_the_data(make_plan, tmp_path):
    """A folder of classes is both, and its held-out part only one."""
    both = write_digits(tmp_path / 'both', of_classes((3, 4, 5), 12), True)
    plan = make_plan(data=both, labels=both)
    assert (plan.images, plan.labelled, plan.test, plan.copies) == \
        (27, 27, 9, 0)


def test_watched_images_are_not_distilled(make_plan, tmp_path):
    plan = make_plan(data=write_digits(tmp_path / 'more', range(220)))
    watched, distilled = listed(plan, 'watched'), listed(plan, 'distill')
    assert len(watched) == 11 and len(distilled) == 209
    assert not set(watched) & set(distilled)


def test_broken_images(make_plan, digits):
    path = next(Path(digits).rglob('*.png'))
    path.write_bytes(b'')
    plan = make_plan()
    assert plan.broken == 1 and plan.images == 47
    assert str(path) in listed(plan, 'broken')[0]


def test_too_few_images(make_plan, digits):
    for path in sorted(Path(digits).rglob('*.png'))[19:]:
        path.unlink()
    with pytest.raises(PlanError, match='19 of 19 images can be read, at '
                       'least 20'):
        make_plan()


@pytest.mark.parametrize('options, message', [
    (dict(student='resnet81'), "--student is 'resnet81', .*nearest: "
     "'resnet18'"),
    (dict(time='reinforced'), '--time reinforced needs --labels'),
    (dict(time='random'), "--time is 'random', expected one of fixed"),
    (dict(epochs=0), '--epochs is 0, expected more than 0'),
    (dict(val_share=1.5), '--val-share is 1.5, expected a share'),
    (dict(teacher='no/such-model'), "--teacher is 'no/such-model', from "
     'which no diffusion model'),
    (dict(data='no/such/folder'), "DATA is 'no/such/folder'"),
    (dict(student='vit_small', asked_size=112), None),
])
def test_refused(make_plan, tmp_path, options, message):
    if message is None:  # 16 pixels divide it
        assert make_plan(**options).size == 112
        return
    with pytest.raises(PlanError, match=message):
        make_plan(**options)
    assert not (tmp_path / 'out').exists()  # nothing is begun


def test_a_folder_without_a_model(make_plan, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(PlanError, match='no diffusion model can be read'):
        make_plan(teacher=str(tmp_path / 'empty'))


def test_too_little_disk(make_plan, monkeypatch):
    from repfusion_mm.command import make_plan as module
    monkeypatch.setattr(module.shutil, 'disk_usage',
                        lambda path: SimpleNamespace(free=27e6))
    with pytest.raises(PlanError, match='with 27 MB free; about 28 MB'):
        make_plan()
    monkeypatch.setattr(module.shutil, 'disk_usage',
                        lambda path: SimpleNamespace(free=29e6))
    make_plan()  # into the folder that was refused


def test_another_plan(make_plan, labels, digits, tmp_path):
    plan = make_plan()
    assert make_plan() == plan
    for options, message in [
            (dict(student='resnet50'), "--student was 'resnet18', and is "
             "'resnet50'"),
            (dict(labels=labels), '--labels was not given, and is'),
            (dict(epochs=2, asked_size=32), '--size was not given, and is '
             '32; --epochs was 1, and is 2'),
            (dict(seed=1), '--seed was 0, and is 1'),
            (dict(amp=True), r'precision \(--amp\) was False, and is True')]:
        with pytest.raises(PlanError, match=message):
            make_plan(**options)
    next(Path(digits).rglob('*.png')).unlink()
    with pytest.raises(PlanError, match='the image files of DATA and '
                       '--labels have changed since'):
        make_plan()


def test_a_folder_of_something_else(make_plan, tmp_path):
    (tmp_path / 'out').mkdir()
    make_plan()
    (tmp_path / 'out/plan.json').unlink()  # as if it was stopped there
    make_plan()
    (tmp_path / 'out/plan.json').rename(tmp_path / 'out/thesis.doc')
    with pytest.raises(PlanError, match='other things .*thesis.doc'):
        make_plan()


def test_another_version(make_plan, tmp_path):
    make_plan()
    path = tmp_path / 'out/plan.json'
    path.write_text(json.dumps(dict(json.loads(path.read_text()), more=1)))
    with pytest.raises(PlanError, match='another version'):
        make_plan()


@pytest.mark.parametrize('out', ['digits/out', 'digits', '.'])
def test_the_output_lies_apart(make_plan, tmp_path, out):
    """Its pictures would be images, its lists might overwrite files."""
    with pytest.raises(PlanError, match='one inside the other'):
        make_plan(out=str(tmp_path / out))


def test_a_policy_needs_labels_that_can_be_held_out(make_plan, labels):
    assert make_plan(labels=labels, time='reinforced').labelled == 18
    with pytest.raises(PlanError, match='at least 10 images to learn from'):
        make_plan(labels=labels, time='reinforced', val_share=0.75,
                  out=f'{labels}_out')
