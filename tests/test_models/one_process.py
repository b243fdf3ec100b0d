"""One of several processes that train on a share of the batch each.

``python one_process.py FOLDER RANK WORLD`` takes the cases from
``FOLDER/cases.pth`` and leaves what came of them in ``FOLDER/<rank>.pth``.
"""
import sys
from pathlib import Path

import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from repfusion_mm.models.time_samplers import ReinforcedTime, TimeSample
from repfusion_mm.registry import MODELS


class ReinforcedByImage(ReinforcedTime):
    """Draws the same t for the same image, in whichever process."""

    def forward(self, images):
        policy = self.distribution(images)
        bins = images[:, 0, 0, 0].round().long() % 10
        return TimeSample(bins * self.bin_width, policy.log_prob(bins),
                          policy.entropy())


MODELS.register_module(module=ReinforcedByImage, force=True)


def build(case):
    """The model of a case, its batch norms independent of the batch.

    But where `norms` of the case is set.
    """
    init_default_scope(case['model'].get('task', case['model'].get(
        'backbone'))['type'].split('.')[0])
    torch.manual_seed(0)
    model = MODELS.build(case['model'])
    model.init_weights()
    model.train()
    for module in () if case.get('norms') else model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def step(model, module, batch):
    """Losses and gradients of a batch.

    Args:
        model (nn.Module): What is called: the model, or DDP around it.
        module (nn.Module): The model.
        batch (dict): As a data loader gives it.
    """
    model.zero_grad()
    before = {name: b.clone() for name, b in module.named_buffers()}
    losses = model(**module.data_preprocessor(batch, True), mode='loss')
    total, log = module.parse_losses(losses)
    total.backward()
    return dict(
        losses={name: loss.detach() for name, loss in log.items()},
        gradients={name: p.grad.clone() for name, p
                   in module.named_parameters() if p.grad is not None},
        changed={name for name, b in module.named_buffers()
                 if not torch.equal(b, before[name])})


def share(batch, rank, world):
    """The part of a batch that a process has."""
    size = len(batch['inputs']) // world
    return {key: values[rank * size:(rank + 1) * size]
            for key, values in batch.items()}


def run(case, rank, world):
    """Two steps: DDP complains of an unused parameter in the second."""
    module = build(case)
    model = MMDistributedDataParallel(
        module, broadcast_buffers=False,
        find_unused_parameters=case.get('find_unused_parameters', False))
    batches = [share(case['batch'], rank, world)]
    counts = case.get('accumulative_counts')
    if counts:
        batches = [share(batches[0], i, counts) for i in range(counts)]
        wrapper = OptimWrapper(torch.optim.SGD(module.parameters(), 0.1),
                               accumulative_counts=counts)
        for batch in batches:
            model.train_step(batch, wrapper)
        return dict(weights=module.state_dict())
    try:
        for _ in range(2):
            result = step(model, module, batches[0])
    except RuntimeError as error:
        return dict(error=str(error))
    return result


def main(folder, rank, world):
    torch.set_num_threads(1)
    folder, rank, world = Path(folder), int(rank), int(world)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank,
        world_size=world)
    cases = torch.load(folder / 'cases.pth', weights_only=False)
    torch.save({name: run(case, rank, world) for name, case in cases.items()},
               folder / f'{rank}.pth')
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
