import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner

from repfusion_mm.engine.hooks import policy_watch
from repfusion_mm.engine.hooks.policy_watch import PolicyWatch
from repfusion_mm.models.distillers.teachers_view import Judged

REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
UNIFORM = torch.zeros(4, 10)
REWARD = torch.tensor([-1., -2., -3., -4.])
ALL = torch.ones(4, dtype=torch.bool)


@pytest.fixture
def said(monkeypatch):
    """What is said of two steps, the first and one at the interval."""

    def look(first=UNIFORM, now=UNIFORM, reward=REWARD, mask=ALL, step=10,
             scaler=None):
        found = []
        monkeypatch.setattr(policy_watch, 'print_log',
                            lambda text, *_: found.append(text))
        model = SimpleNamespace(reward=object())
        runner = SimpleNamespace(
            iter=step - 1, max_iters=100,
            optim_wrapper=SimpleNamespace(loss_scaler=scaler))
        watch = PolicyWatch()

        def judged(logits):
            return Judged(None if logits is None else logits.log_softmax(1),
                          reward, mask)

        model.judged = judged(first)
        watch.begin(model)
        model.judged = judged(now)
        watch.begin(model)  # the first step is the first
        for _ in range(2):  # said once
            watch.look(runner, model)
        return found

    return look


def test_in_good_health(said):
    assert said() == []
    assert said(first=None, now=None) == []  # without a policy


def test_constant_reward(said):
    text, = said(reward=torch.full((4, ), -0.25))
    assert 'Step 10: the reward is the same for all images, 0.25' in text
    assert 'Look at `reward`' in text
    assert len(said(reward=torch.zeros(4))) == 1
    # of one image, or of none, nothing can be said
    assert said(mask=torch.arange(4) < 1) == []
    assert said(mask=~ALL) == []
    # what is masked out does not count
    assert len(said(reward=torch.tensor([1., 1., 5., float('nan')]),
                    mask=torch.arange(4) < 2)) == 1


def peaked(spread):
    """One time step has all of the probability but for exp(-spread)."""
    logits = torch.zeros(4, 10)
    logits[:, 3] = spread
    return logits


def test_exploding_logits(said):
    found = said(now=peaked(200.), step=50)
    assert 'the policy\'s logits have exploded' in found[0]
    assert 'exp(-200)' in found[0] and 'lr_mult' in found[0]
    assert len(found) == 1  # behind the first tenth none has collapsed
    assert said(now=peaked(80.), step=50) == []
    # it began so: a look has found the best one
    assert said(first=peaked(200.), now=peaked(200.)) == []


def test_collapsed_entropy(said):
    # p = e^4 / (e^4 + 9): H = -p ln p - 9 q ln q, in closed form
    p, q = (math.exp(x) / (math.exp(4) + 9) for x in (4, 0))
    left = math.exp(-p * math.log(p) - 9 * q * math.log(q))
    text, = said(now=peaked(4.))
    assert f'of 10.0 choices that it had at first {left:.1f} are left' in text
    assert 'within 10 of 100 steps' in text
    assert '`time_sampler.entropy_weight`' in text
    assert said(now=peaked(4.), step=11) == []  # as it should, later
    assert said(now=peaked(2.)) == []  # five choices
    # two from three is no collapse
    assert said(first=peaked(3.5), now=peaked(4.)) == []


@pytest.mark.parametrize('scale, words', [
    (65536., 0), (1., 0), (0.5, 1), (0., 0)])
def test_float16(said, scale, words):
    found = said(scaler=SimpleNamespace(get_scale=lambda: scale))
    assert len(found) == words
    assert all('bfloat16' in text for text in found)


def test_nothing_waits_before_the_interval(monkeypatch):
    """The first step's numbers are not read until a record is written."""
    monkeypatch.setattr(torch.Tensor, 'tolist', None)
    monkeypatch.setattr(torch.Tensor, 'item', None)
    model = SimpleNamespace(judged=Judged(UNIFORM, REWARD, ALL))
    PolicyWatch().begin(model)


def test_in_a_run(load_config, tmp_path):
    """A reward without signal, by the real Runner; a checkpoint is there."""
    runner = Runner.from_cfg(load_config(
        REINFORCED, 2, **{
            'model.time_sampler.look': False,
            'custom_hooks': [dict(type='repfusion_mm.TimeSamplerHook',
                                  interval=2)]}))
    reward = runner.model.reward

    def constant(module, args, judgement):
        return torch.full_like(judgement[0], -1.), *judgement[1:]

    reward.register_forward_hook(constant)
    runner.train()
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Step 2: the reward is the same for all images, 1 in size' in log
    assert 'hidden=()' in log
    assert (tmp_path / 'iter_2.pth').is_file()
