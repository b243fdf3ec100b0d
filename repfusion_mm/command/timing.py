"""What a few real steps of a training take."""
import gc
import time
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from repfusion_mm.registry import MODELS

STEPS, ENOUGH = 3, 5.  # at most so many, after so many seconds no more


class Cost(NamedTuple):
    """Of a training.

    Attributes:
        seconds (float): Of a step.
        megabytes (float): Of a checkpoint: weights, AdamW's two averages,
            and the averaged weights where there are some.
    """
    seconds: float
    megabytes: float


def cost_of(cfg: Config) -> Cost:
    """Take a few steps of a training, and throw them away.

    Args:
        cfg (Config): Of the training; all that it reads is there.

    Returns:
        Cost: On the device that MMEngine takes.
    """
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    if hasattr(model, 'init_weights'):
        model.init_weights()
    model.to(get_device()).train()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    loader = dict(cfg.train_dataloader, num_workers=0)
    loader.pop('pin_memory', None)
    taken = []
    batches = iter(Runner.build_dataloader(loader, seed=0))
    for _ in range(STEPS + 1):
        begun = time.perf_counter()
        model.train_step(next(batches), optimizer)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
        if sum(taken) > ENOUGH:
            break
    weights = sum(one.numel() * one.element_size()
                  for one in model.state_dict().values())
    averaged = any(hook['type'] == 'EMAHook'
                   for hook in cfg.get('custom_hooks', []))
    del model, optimizer, batches
    gc.collect()
    # the first one takes longer
    return Cost(sum(taken[1:]) / (len(taken) - 1) if len(taken) > 1
                else taken[0], weights * (3 + averaged) / 1e6)
