import copy
import os
import socket
import subprocess
import sys

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


def test_required():
    """What no loss is made of, and is the cause of one that is not finite."""
    check = FiniteCheck()
    check.note([('the reward', BAD)], required=True)
    with pytest.raises(FloatingPointError, match='in the reward; stopped'):
        check.check({'loss': GOOD})
    check.note([('the reward', GOOD)], required=True)
    check.check({'loss': GOOD})


def test_step_of_the_run():
    from mmengine.logging import MessageHub
    MessageHub.get_current_instance().update_info('iter', 11)
    with pytest.raises(FloatingPointError, match='^step 12: NaN or inf'):
        FiniteCheck().check({'loss': BAD})


PROCESS = '''
import os, sys
import torch
from torch.nn.parallel import DistributedDataParallel
from repfusion_mm.models.utils.finite_check import FiniteCheck

rank, spoilt, part = int(os.environ['RANK']), *sys.argv[1:]
torch.distributed.init_process_group('gloo')
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
check = FiniteCheck()
before = None
try:
    for step in range(4):
        image = torch.full((2, 3), float(rank + 1))
        reward = torch.ones(2)
        if step == 2 and str(rank) == spoilt:
            (image if part == 'loss' else reward)[0] = float('nan')
        loss = model(image).square().mean()
        check.note([('the image', image)])
        check.note([('the reward', reward)], required=True)
        check.check(dict(loss_task=loss, loss_list=[loss, loss]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
except FloatingPointError as error:
    assert step == 2
    assert all(p.isfinite().all() for p in model.parameters())
    print(error)
    sys.exit(3)
'''


@pytest.mark.slow
@pytest.mark.parametrize('spoilt, part, named', [
    (0, 'loss', 'the image'), (1, 'loss', 'the image'),
    (1, 'reward', 'the reward')])
def test_any_process_ends_all(root, spoilt, part, named):
    """Without the others waiting for its gradients."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    processes = [subprocess.Popen(
        [sys.executable, '-c', PROCESS, str(spoilt), part],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1',
             'RANK': str(rank), 'WORLD_SIZE': '2',
             'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)})
        for rank in range(2)]
    try:
        said = [one.communicate(timeout=300) for one in processes]
    finally:
        for one in processes:
            one.kill()
    assert [one.returncode for one in processes] == [3, 3], said
    assert said[0][0] == said[1][0]
    assert said[0][0].startswith(
        f'process {spoilt}: NaN or infinity in {named}; stopped before')
