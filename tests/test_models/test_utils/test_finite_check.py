import copy

import pytest
import torch

from repfusion_mm.models.utils import finite_check
from repfusion_mm.models.utils.finite_check import FiniteCheck


class Event:
    """A CUDA event; the GPU gets there when ``now`` does."""
    now = 0
    made = 0

    def record(self):
        Event.made += 1
        self.at = Event.made

    def query(self):
        return Event.now >= self.at

    def synchronize(self):
        Event.now = max(Event.now, self.at)


@pytest.fixture
def late(monkeypatch):
    """What the check sees of tensors that lie on a GPU."""

    class Flags:
        device = torch.device('cuda')

        def __init__(self, values):
            self.values = values

        def to(self, device, non_blocking=False):
            assert device == 'cpu' and non_blocking
            return self.values

    of_all = finite_check._of_all
    monkeypatch.setattr(finite_check, '_of_all',
                        lambda finite: Flags(of_all(finite)))
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    Event.now = Event.made = 0


def step(check, features, losses):
    check.note(features)
    check.check(losses)


GOOD, BAD = torch.ones(2, 3), torch.tensor([1., float('nan')])


def test_at_once():
    check = FiniteCheck()
    step(check, [('z', GOOD)], {'loss': GOOD.sum()})
    step(check, [('z', BAD)], {'loss': GOOD.sum()})  # no loss is made of it
    with pytest.raises(FloatingPointError,
                       match='in a, z; stopped before the weights are chan'):
        step(check, [('a', BAD), ('z', BAD), ('z', GOOD), ('z', BAD)],
             {'loss': BAD.sum()})
    # what the step before had is forgotten
    with pytest.raises(FloatingPointError, match='in loss_c; stopped'):
        check.check({'loss_c': BAD})
    with pytest.raises(FloatingPointError, match='in loss_b; stopped'):
        step(check, [('a', GOOD)], {'loss_a': GOOD, 'loss_b': 1 / (GOOD - 1)})


def test_when_it_arrives(late):
    check = FiniteCheck()
    step(check, [('z', GOOD)], {'loss': GOOD})
    step(check, [('z', BAD)], {'loss': BAD})
    Event.now = 1  # the step before has arrived, the bad one not yet
    step(check, [('z', GOOD)], {'loss': GOOD})
    Event.now = 2
    with pytest.raises(FloatingPointError, match='in z; the weights have'):
        step(check, [('z', GOOD)], {'loss': GOOD})


def test_wait(late):
    check = FiniteCheck()
    step(check, [('z', GOOD)], {'loss': GOOD})
    check.wait()
    step(check, [('z', GOOD)], {'loss': BAD})
    copy.deepcopy(check).wait()  # a copy (EMA) answers for its own steps
    with pytest.raises(FloatingPointError, match='in loss; the weights have'):
        check.wait()
    check.wait()  # said once


def test_what_is_minimised():
    """What is only logged may be anything; a loss may be a list."""
    check = FiniteCheck()
    check.check({'decode.acc_seg': BAD, 'mean_reward': BAD})
    check.check({'decode.acc_seg': BAD, 'loss_cls': [GOOD, GOOD]})
    with pytest.raises(FloatingPointError, match='in decode.loss_ce;'):
        check.check({'decode.loss_ce': BAD, 'aux.loss_ce': GOOD})
    with pytest.raises(FloatingPointError, match='in loss_cls;'):
        check.check({'loss_cls': [GOOD, BAD]})
