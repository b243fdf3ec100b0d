import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from repfusion_mm.analysis.will_it_pay import (
    advise,
    candidate_taps,
    interval,
    recommended,
    will_it_pay,
)
from repfusion_mm.registry import MODELS

DIGITS = 'configs/demo/repfusion_resnet18_reinforced_digits.py'


def answer(probe, scratch, low, high, tap='up', learning=0., kind='class',
           constant=0.1):
    up, mid = (dict(score=score, t=[75, 125], chosen_t=t) for score, t in (
        ([0.5, 0.6], 75), ([0.2, 0.4], 125)))
    return dict(probe=probe, scratch=scratch, gain=probe - scratch, low=low,
                high=high, tap=tap, t=75, predicted=30, steps=100,
                learning=learning, low_if_longer=low - learning,
                constant=constant, kind=kind,
                taps=dict(up=up, mid=mid))


@pytest.mark.parametrize('low, high, verdict', [
    (0.01, 0.2, 'yes'), (-0.2, -0.01, 'no'), (-0.1, 0.1, 'open')])
def test_advice(low, high, verdict):
    found = advise(answer(0.5, 0.4, low, high), 'up')
    assert found['verdict'] == verdict
    for part in ('30 images', '50.0 %', '40.0 %', "'up', t = 75",
                 f'{100 * low:+.1f} to {100 * high:+.1f}'):
        assert part in found['advice']
    assert 'Change the tap' not in found['advice']


def test_advice_of_a_student_that_is_still_learning():
    """A short training from scratch is no reason to distil."""
    found = advise(answer(0.5, 0.4, 0.05, 0.15, learning=0.06), 'up')
    assert found['verdict'] == 'open' and '6.0 points less' in found['advice']
    assert '`--steps`' in found['advice']
    found = advise(answer(0.5, 0.4, 0.05, 0.15, learning=0.04), 'up')
    assert found['verdict'] == 'yes'


def test_advice_of_a_student_that_has_learned_nothing():
    found = advise(answer(0.5, 0.1, 0.35, 0.45), 'up')
    assert found['verdict'] == 'open'
    assert 'the same answer to all images gets 10.0 %' in found['advice']


@pytest.mark.parametrize('kind, reader', [
    ('class', 'a linear probe of the teacher'),
    ('keypoint', 'a head that was trained for 100 steps on the teacher')])
def test_advice_names_the_reader(kind, reader):
    assert reader in advise(
        answer(0.5, 0.4, 0.05, 0.15, kind=kind), 'up')['advice']


def test_advice_to_change_the_tap():
    advice = advise(answer(0.5, 0.4, 0., 0.1), 'mid')['advice']
    assert "Change the tap: at its best t, 'mid' of the config reads 40.0 %" \
        in advice and "'up' 50.0 %" in advice


def test_interval():
    found = interval(torch.randn(400).double() + 0.5)
    assert found['low'] == pytest.approx(found['gain'] - 1.645 / 20, abs=0.02)
    assert found['high'] == pytest.approx(found['gain'] + 1.645 / 20, abs=0.02)


def test_taps(pipeline_folder):
    teacher = MODELS.build(dict(type='repfusion_mm.UNetTeacher',
                                pretrained=pipeline_folder))
    assert candidate_taps(teacher) == [
        'mid_block.resnets.1', 'up_blocks.0.resnets.0',
        'up_blocks.0.resnets.1', 'up_blocks.1.resnets.0',
        'up_blocks.1.resnets.1']
    assert candidate_taps(torch.nn.Linear(1, 1)) == []


def test_recommended_for_a_bank(root, monkeypatch):
    monkeypatch.chdir(root)
    cfg = Config.fromfile('configs/demo/repfusion_resnet18_bank_digits.py')
    changes = recommended(cfg, dict(tap='up', t=75))
    assert changes['model']['teacher'] == dict(
        timesteps=[75], bin_width=1,
        bank='work_dirs/repfusion_resnet18_bank_digits/bank_up_t75')
    assert changes['model']['connections'][0]['teacher_tap'] == 'up'
    assert 'reward' not in changes['model']


def test_not_of_stage_1(root, monkeypatch):
    monkeypatch.chdir(root)
    cfg = Config.fromfile('configs/demo/resnet18_scratch_digits.py')
    with pytest.raises(ValueError, match="'ImageClassifier', expected the "
                       'config of a stage 1'):
        will_it_pay(cfg)


def test_too_few_labels(load_config):
    cfg = load_config(DIGITS)
    init_default_scope('mmpretrain')
    unlabelled, labelled = cfg.train_dataloader.dataset.datasets
    unlabelled.labels_per_class = labelled.dataset.labels_per_class = 1
    with pytest.raises(ValueError, match='at least 10 labelled images.*of no '
                       'class a single one.*has 0'):
        will_it_pay(cfg, ['mid_block.resnets.1'], num_times=2)


class Nameless:
    """A data set that does not name its classes."""
    metainfo: dict = {}

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]

    def get_data_info(self, index):
        return self.dataset.get_data_info(index)


def test_classes_without_names(load_config, monkeypatch):
    """Not every batch shows all of them."""
    from repfusion_mm.analysis import will_it_pay as module
    make = module._dataset
    monkeypatch.setattr(module, '_dataset', lambda cfg: Nameless(make(cfg)))
    cfg = load_config(DIGITS)
    init_default_scope('mmpretrain')
    found = will_it_pay(cfg, ['mid_block.resnets.1'], num_times=2, views=1,
                        steps=2)
    assert 0 <= found['scratch'] <= 1
