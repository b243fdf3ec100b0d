"""The Runner's iteration on generated images."""
import tempfile
from pathlib import Path

import numpy as np


def register_images():
    """A data set of generated images, ``mmengine.GeneratedImages``."""
    from mmengine.dataset import BaseDataset
    from mmengine.registry import DATASETS

    @DATASETS.register_module(force=True)
    class GeneratedImages(BaseDataset):

        def __init__(self, count, size, **kwargs):
            self.shape = count, size, size, 3
            super().__init__(**kwargs)

        def load_data_list(self):
            images = np.random.default_rng(0).integers(
                0, 256, self.shape, dtype=np.uint8)
            return [dict(img=image, gt_label=i % 10)
                    for i, image in enumerate(images)]


def runner_iteration(ways, model, count):
    """An iteration of the Runner: data pipeline, hooks, logging, step.

    Args:
        ways (Ways): Whose config, batch and optimiser it takes.
        model (nn.Module): What is trained.
        count (int): Generated images in the data set.

    Returns:
        Callable: Takes the next one.
    """
    from mmengine.runner import Runner
    loader = ways.cfg.train_dataloader
    pipeline = [step for step in loader.dataset.pipeline
                if 'Load' not in step['type']]
    work_dir = tempfile.mkdtemp()
    runner = Runner(
        model,  # on the same weights
        work_dir,
        train_dataloader=dict(
            batch_size=ways.batch, **_workers(ways.device),
            collate_fn=loader.collate_fn,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=dict(type='mmengine.GeneratedImages', count=count,
                         size=ways.size, pipeline=pipeline)),
        train_cfg=dict(by_epoch=False, max_iters=10**6),
        optim_wrapper=dict(ways.wrapper(),
                           optimizer=dict(type='SGD', **ways.sgd)),
        default_hooks=ways.cfg.default_hooks,
        custom_hooks=[dict(type='repfusion_mm.TimeSamplerHook'),
                      dict(type='repfusion_mm.DeferLogHook')],
        log_processor=dict(by_epoch=False),
        log_level='ERROR', default_scope='mmpretrain',
        experiment_name=Path(work_dir).name)
    loop = runner.build_train_loop(runner._train_loop)
    runner._train_loop = loop
    runner.optim_wrapper = runner.build_optim_wrapper(
        runner.optim_wrapper)
    runner.call_hook('before_run')
    runner.call_hook('before_train')
    runner.call_hook('before_train_epoch')
    batches = iter(loop.dataloader)
    return lambda: loop.run_iter(next(batches))


def _workers(device):
    """On a GPU the data are made beside it; two cores are too few."""
    return dict(num_workers=0) if device == 'cpu' else dict(
        num_workers=8, persistent_workers=True, pin_memory=True)
