"""The smallest real training, and what happens to it."""
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np

TINY = dict(
    sample_size=16, layers_per_block=1, block_out_channels=(16, 32),
    norm_num_groups=8, attention_head_dim=8,
    down_block_types=('DownBlock2D', 'AttnDownBlock2D'),
    up_block_types=('AttnUpBlock2D', 'UpBlock2D'))
IMAGES, BATCHES = 200, (2, 33)  # sizes are drawn from 2 to 32
# what befalls the sessions of a training, in turn; each goes on where the last
# checkpoint was
FAULTS = ('none', 'interrupted', 'worker_killed', 'nan_loss', 'broken_image',
          'no_folder', 'none')
JOBS = ('computed', 'bank')


class Job:
    """A training in sessions: stage 1 of the digits, as files.

    Args:
        folder (Path): For all that is written.
        steps (int): Of a session.
    """

    def __init__(self, folder, steps):
        self.folder, self.steps = Path(folder), steps
        self.images = self.folder / 'images'
        self.sessions = 0
        self.trained = 0  # steps
        _write_digits(self.images)
        _write_teacher(self.folder / 'teacher')
        _register_batches()

    def session(self, kind, fault):
        """Train for a session, or until the fault ends it.

        Args:
            kind (str): One of :data:`JOBS`: features that are computed for
                each crop, or drawn from a bank.
            fault (str): One of :data:`FAULTS`.

        Returns:
            str: What ended it: the name of an exception, or ``'none'``.
        """
        from mmengine.config import Config
        from mmengine.runner import Runner
        work_dir = self.folder / kind
        cfg = self._config(kind, work_dir)
        if fault == 'no_folder':
            cfg['train_dataloader']['dataset']['data_root'] = \
                str(self.folder / 'imags')
        if fault == 'broken_image':  # ends a run; the bank leaves it out
            cfg['train_dataloader']['dataset']['pipeline'][0][
                'ignore_empty'] = False
        try:
            runner = Runner.from_cfg(Config(cfg))
            runner.register_hook(_fault_hook(fault, self.steps))
            runner.train()
            ended = 'none'
        except (KeyboardInterrupt, Exception) as error:
            ended = type(error).__name__
        runner = error = None  # noqa: F841
        try:
            _put_away()
        except RuntimeError:  # torch hears only now that a worker was killed
            _put_away()
        self.sessions += 1
        return ended

    def restart(self):
        """Forget the checkpoints, not the bank."""
        for kind in JOBS:
            shutil.rmtree(self.folder / kind, ignore_errors=True)

    def _config(self, kind, work_dir):
        done = _steps_done(work_dir)
        self.trained += self.steps
        files = dict(
            type='CustomDataset', data_root=str(self.images), pipeline=[
                dict(type='LoadImageFromFile', ignore_empty=True),
                dict(type='RandomCrop', crop_size=16, padding=2),
                dict(type='PackInputs')])
        teacher = dict(type='repfusion_mm.UNetTeacher',
                       pretrained=str(self.folder / 'teacher'))
        if kind == 'bank':
            teacher = dict(
                type='repfusion_mm.BankedTeacher', teacher=teacher,
                bank=str(self.folder / 'features'), flips=False,
                dataset=dict(
                    files, indices=list(range(IMAGES)), pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='PackInputs')]),
                channel_order='bgr', timesteps=list(range(50, 1000, 100)),
                bin_width=100)
            files['indices'] = list(range(IMAGES))
        return dict(
            default_scope='mmpretrain', work_dir=str(work_dir),
            experiment_name=f'soak_{self.sessions}', resume=done > 0,
            log_level='ERROR', randomness=dict(seed=self.sessions),
            env_cfg=dict(mp_cfg=dict(mp_start_method='fork',
                                     opencv_num_threads=0)),
            model=dict(
                type='repfusion_mm.RepFusion',
                data_preprocessor=dict(
                    type='mmpretrain.ClsDataPreprocessor',
                    mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
                backbone=dict(
                    type='mmpretrain.ResNet_CIFAR', depth=18,
                    stem_channels=4, base_channels=4),
                teacher=teacher,
                time_sampler=dict(type='repfusion_mm.ReinforcedTime',
                                  num_bins=10),
                reward=dict(type='repfusion_mm.ClassificationReward',
                            num_classes=10, hidden=(8, )),
                connections=[dict(
                    student_tap='layer4',
                    teacher_tap='mid_block.resnets.1',
                    loss=dict(type='repfusion_mm.HintLoss', pool=True))]),
            train_dataloader=dict(
                num_workers=1, persistent_workers=True,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                batch_sampler=dict(type='VaryingBatches', seed=self.sessions),
                batch_size=BATCHES[1] - 1,
                dataset=files),
            train_cfg=dict(by_epoch=False, max_iters=done + self.steps),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=10),
                checkpoint=dict(type='CheckpointHook', by_epoch=False,
                                interval=max(1, self.steps // 3),
                                max_keep_ckpts=1)),
            custom_hooks=[
                # a killed worker's error can come while a checkpoint is
                # written: the one before must still be there
                dict(type='repfusion_mm.ExactResumeHook'),
                dict(type='EMAHook', momentum=0.01),
                dict(type='repfusion_mm.DeferLogHook'),
                dict(type='repfusion_mm.TimeSamplerHook', interval=10)])


def _steps_done(work_dir):
    record = work_dir / 'last_checkpoint'
    return int(Path(record.read_text()).stem.rpartition('_')[2]) \
        if record.exists() else 0


def _write_digits(folder):
    """Some digits as files, in folders of their classes; one is broken."""
    from PIL import Image
    from sklearn.datasets import load_digits
    digits = load_digits()
    for index in range(IMAGES):
        path = folder / str(digits.target[index]) / f'{index:04}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[index] * 15.9).astype(np.uint8)).resize(
            (16, 16), Image.Resampling.BILINEAR).convert('RGB').save(path)
    # behind all others, so that the bank can leave it out
    (folder / '9' / 'z_empty.png').touch()


def _write_teacher(folder):
    import torch
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    torch.manual_seed(1)
    DDPMPipeline(UNet2DModel(**TINY), DDPMScheduler()).save_pretrained(folder)


def _register_batches():
    from mmengine.registry import DATA_SAMPLERS

    @DATA_SAMPLERS.register_module(name='VaryingBatches', force=True)
    class VaryingBatches:
        """Batches of another size each time."""

        def __init__(self, sampler, batch_size, seed):
            self.sampler, self.batch_size, self.seed = sampler, batch_size, \
                seed
            self.drop_last = False

        def __iter__(self):
            sizes = np.random.default_rng(self.seed)
            batch, size = [], sizes.integers(*BATCHES)
            for index in self.sampler:
                batch.append(index)
                if len(batch) == size:
                    yield batch
                    batch, size = [], sizes.integers(*BATCHES)

        def __len__(self):
            return len(self.sampler) // self.batch_size


def _fault_hook(fault, steps):
    from mmengine.hooks import Hook

    class Fault(Hook):
        """Lets something happen between two checkpoints."""
        priority = 'LOWEST'

        def __init__(self):
            self.in_step = 0

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            self.in_step += 1
            if self.in_step != steps // 2 + 2:
                return
            if fault == 'interrupted':
                raise KeyboardInterrupt
            if fault == 'worker_killed':
                os.kill(multiprocessing.active_children()[0].pid,
                        signal.SIGKILL)
            if fault == 'nan_loss':
                for weight in runner.model.backbone.parameters():
                    weight.data.fill_(float('nan'))

    return Fault()


def _put_away():
    """What MMEngine keeps of every run, for as long as the process lives."""
    from mmengine.utils import ManagerMixin

    def subclasses(cls):
        return [each for one in cls.__subclasses__()
                for each in (one, *subclasses(one))]

    for manager in subclasses(ManagerMixin):
        for one in manager._instance_dict.values():
            for handler in getattr(one, 'handlers', ()):
                handler.close()
        manager._instance_dict.clear()
    gc.collect()
    for child in multiprocessing.active_children():
        child.join(60)  # workers that torch has told to end


def quiet():
    """No output of the runs."""
    warnings.simplefilter('ignore')
    logging.disable(logging.ERROR)
