"""Warnings of a policy that learns nothing, or that has stopped to."""
import logging
import math
from typing import Any, Dict, Optional

import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from torch import Tensor

EARLY = 0.1  # the share of a training whose steps are the first
FEW = 2.  # choices that are left of a policy that has collapsed
EXPLODED = 87.  # nats: less than exp(-87) has no gradient in float32
SAME = 1e-6  # relative to the size of the rewards
LOW_SCALE = 1.  # of the loss in float16; it begins at 65536


class PolicyWatch:
    """Looks at the policy and the reward of some steps, and says once each:

    - that the reward is the same for all images of a batch, on every process,
      so that no time step is better than another;
    - that the policy's logits have exploded: some choice has a probability
      that float32 knows no gradient of;
    - that its entropy has collapsed in the first tenth of the training: fewer
      than two choices are left, and not half as many as at the first step;
    - that float16 overflows step after step, each of which is skipped: the
      loss scale has fallen below 1.

    Nothing is stopped: the numbers are finite, the student is taught.
    """

    def __init__(self) -> None:
        self._first: Optional[Dict[str, Tensor]] = None
        self._said: set = set()

    def begin(self, model: Any) -> None:
        """Look at the first step; its numbers stay on the GPU.

        Args:
            model (Distiller): Behind its step.
        """
        if self._first is None and model.judged is not None:
            self._first = _numbers(model.judged)

    def look(self, runner: Any, model: Any) -> None:
        """Look at a step, and warn. Waits for a GPU, as a log does.

        Args:
            runner (Runner): Every process' has to come here.
            model (Distiller): Behind its step.
        """
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is not None and 0 < scaler.get_scale() < LOW_SCALE:
            self._say(runner, 'scale', (
                f'float16 overflows: the loss scale has fallen to '
                f'{scaler.get_scale():g}, since step after step had '
                'gradients that are not finite. Each of these is skipped, '
                'nothing is learnt: train with `--amp-dtype bfloat16`, or '
                'without `--amp`'))
        if model.judged is None or self._first is None:
            return
        now, first = (_on_host(one)
                      for one in (_numbers(model.judged), self._first))
        if now['counted'] > 1 and \
                now['spread'] <= SAME * max(now['size'], 1e-30):
            self._say(runner, 'reward', (
                f'the reward is the same for all images, {now["size"]:g} in '
                'size: no time step is better than another, and the policy '
                f'learns nothing. Look at `reward`: {_reward_advice(model)}'))
        if 'unlikely' not in now:
            return
        if now['unlikely'] > EXPLODED >= first['unlikely']:
            self._say(runner, 'logits', (
                'the policy\'s logits have exploded: a time step has the '
                f'probability exp(-{now["unlikely"]:.0f}), and will not be '
                'drawn again. Lower the policy\'s learning rate by '
                "`optim_wrapper.paramwise_cfg.custom_keys=dict(time_sampler="
                'dict(lr_mult=0.1))`, clip its gradient by `optim_wrapper.'
                'clip_grad`, or raise `time_sampler.entropy_weight`'))
        left, began = (math.exp(one['entropy']) for one in (now, first))
        if left < FEW and left < began / 2 and \
                runner.iter + 1 <= EARLY * runner.max_iters:
            self._say(runner, 'entropy', (
                f'the policy\'s entropy has collapsed: of {began:.1f} choices '
                f'that it had at first {left:.1f} are left, within '
                f'{runner.iter + 1} of {runner.max_iters} steps. It looks for '
                'no better time step any more: raise `time_sampler.'
                'entropy_weight`, or lower the policy\'s learning rate by '
                '`optim_wrapper.paramwise_cfg.custom_keys=dict(time_sampler='
                'dict(lr_mult=0.1))`'))

    def _say(self, runner: Any, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            print_log(f'Step {runner.iter + 1}: {text}', 'current',
                      logging.WARNING)


def _reward_advice(model: Any) -> str:
    if hasattr(model.reward, 'classifier'):
        return 'a classifier with `hidden=()` knows few images less soon by ' \
            'heart'
    return 'if this stays so, UniformTime does as well'


def _numbers(judged: Any) -> Dict[str, Tensor]:
    """Of a step's batch, on its device."""
    reward, mask = judged.reward.float(), judged.mask
    infinity = float('inf')
    numbers = dict(
        counted=mask.sum().float(),
        spread=reward.masked_fill(~mask, -infinity).max() -
        reward.masked_fill(~mask, infinity).min(),
        size=reward.masked_fill(~mask, 0.).abs().max())
    if judged.log_probs is not None:
        logs = judged.log_probs.float()
        numbers['unlikely'] = -logs.min()
        numbers['entropy'] = -(logs.exp() * logs).sum(1).mean()
    return numbers


def _on_host(numbers: Dict[str, Tensor]) -> Dict[str, float]:
    """The largest of all processes."""
    values = torch.stack(list(numbers.values()))
    all_reduce(values, 'max')
    return dict(zip(numbers, values.tolist()))
