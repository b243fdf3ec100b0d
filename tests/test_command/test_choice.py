import pytest
import torch
from mmengine.registry import init_default_scope

from repfusion_mm.analysis.look import even_times
from repfusion_mm.command.choice import choose, default_tap, looked_passes
from repfusion_mm.command.configs import distill_config, teacher_config
from repfusion_mm.command.image_list import image_list, sized

DPM = 'configs/demo/dpm_digits'


def progress(things, what):
    return things


@pytest.fixture
def chosen(make_plan, root, monkeypatch):
    """What is chosen for digits, whose diffusion model is real."""
    monkeypatch.chdir(root)

    def choose_for(**options):
        plan = make_plan(teacher=str(root / DPM), **options)
        teacher = teacher_config(plan)
        cfg = distill_config(plan, teacher, default_tap(teacher), 0)
        labelled = image_list(
            plan.list('labelled'),
            sized(cfg.train_dataloader.dataset.pipeline, plan.size),
            plan.classes) if plan.classes else {}
        return choose(cfg, default_tap(teacher), labelled, progress)

    return choose_for


def test_default_tap(root):
    assert default_tap(dict(type='repfusion_mm.DiffusionTeacher',
                            pretrained=str(root / DPM))) == 'mid_block'


def test_without_labels(chosen):
    """By one tap; the same each time."""
    found = chosen()
    assert found['rewarded'] == 'frequency'
    assert list(found['taps']) == ['mid_block'] == [found['tap']]
    look = found['taps']['mid_block']
    assert look['t'] == even_times(1000, 20) and found['t'] in look['t']
    best = max(range(20), key=lambda place: look['smoothed'][place])
    assert found['t'] == look['t'][best]
    assert chosen()['t'] == found['t']


def test_with_labels(chosen, labels):
    """All taps are compared, by how right the left-out images are read."""
    found = chosen(labels=labels)
    assert found['rewarded'] == 'labels' and len(found['taps']) > 2
    best = {tap: look['smoothed'][look['t'].index(look['chosen_t'])]
            for tap, look in found['taps'].items()}
    assert found['tap'] == max(best, key=best.get)
    scores = found['taps'][found['tap']]['score']
    assert max(scores) > 0.6  # of three classes


def test_too_few_labels(chosen, tmp_path):
    """One image of each class cannot be held out: none is read."""
    from tests.test_command.digit_folders import of_classes, write_digits
    few = write_digits(tmp_path / 'few', of_classes((0, 1, 2), 2), True)
    assert chosen(labels=few, val_share=0.5)['rewarded'] == 'frequency'


def test_passes():
    assert looked_passes(0) == 64 * 20
    assert looked_passes(18) == 18 * 4 * 20
    assert looked_passes(10_000) == 256 * 20


def test_the_random_numbers_are_those_of_a_seed(chosen):
    torch.manual_seed(5)
    one = chosen()
    torch.manual_seed(6)
    assert chosen() == one
    init_default_scope('mmengine')
