"""Bad images are found early, and those that were skipped are listed."""
import json
import os
import os.path as osp
from typing import Any, Dict, List

import numpy as np
from mmengine.dist import (
    all_gather_object,
    get_rank,
    get_world_size,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from repfusion_mm.datasets.few_labels import FewLabels
from repfusion_mm.datasets.image_check import (
    BadImage,
    annotations,
    by_extension,
    check_files,
    checked_steps,
    counted,
    passed_over,
)
from repfusion_mm.datasets.transforms import skipped
from repfusion_mm.datasets.transforms.decoding import MAX_PIXELS
from repfusion_mm.engine.resuming.empty_order import refuse_empty_order
from repfusion_mm.registry import HOOKS

SAMPLE = 100  # training images that are looked at before the first step
SHOWN = 10  # in a message


@HOOKS.register_module()
class SkippedImagesHook(Hook):
    """Says which images :class:`LoadCheckedImage` has skipped.

    The first one is warned of at once. All are written to
    ``<work_dir>/skipped_images.jsonl`` when they are met, by whichever worker
    and process; at the end they are counted by what is wrong with them. A
    training that is resumed goes on with the list.

    Before the first step it counts the files that mmpretrain's folders pass
    over, and it is an error if a training or validation data set is empty, if
    an image of a validation is bad (all of them are read, once), or if more
    than half of 100 training images are.

    Example:
        >>> custom_hooks = [dict(type='repfusion_mm.SkippedImagesHook')]
    """
    priority = 'VERY_HIGH'  # before the look at the time steps

    def __init__(self) -> None:
        skipped.forget()
        refuse_empty_order()

    def before_train(self, runner) -> None:
        """Look at the images, and begin the list.

        Args:
            runner (Runner): About to train.

        Raises:
            ValueError: If a data set is empty or too many images are bad.
        """
        loaders = {'train_dataloader': runner.train_loop.dataloader}
        if isinstance(runner._val_loop, BaseLoop):
            loaders['val_dataloader'] = runner._val_loop.dataloader
        for key, loader in loaders.items():
            dataset: Any = getattr(loader, 'dataset', None)
            if hasattr(dataset, '__len__') and len(dataset) == 0:
                raise ValueError(f'`{key}.dataset` is empty: '
                                 f'{_why_empty(dataset)}')
        self._file = osp.join(runner.work_dir, skipped.FILE)
        mine = self._file if get_rank() == 0 else \
            f'{self._file}.{get_rank()}'  # machines may share no disk
        if runner.iter == 0:
            if osp.exists(mine):
                os.remove(mine)
            for key, loader in loaders.items():
                self._look(runner, key, loader)
        skipped.keep_in(mine)

    def after_train(self, runner) -> None:
        """List what was skipped.

        Args:
            runner (Runner): At the end of its training.
        """
        mine = os.environ.get(skipped.VARIABLE, '')
        lists = all_gather_object(skipped.read(mine))
        skipped.forget()
        found: Dict[str, dict] = {}
        for one in lists:
            found = {**one, **found}
        if not is_main_process():
            if osp.exists(mine):
                os.remove(mine)
            return
        of_others = found.keys() - lists[0].keys()
        if of_others:
            with open(self._file, 'a') as file:
                file.writelines(f'{json.dumps(found[path])}\n'
                                for path in sorted(of_others))
        bad = [BadImage(**found[path]) for path in sorted(found)]
        if bad:
            runner.logger.warning(
                f'{len(bad)} images were skipped: {counted(bad)}. Each time, '
                f'another one was taken. {_shown(bad)}. They are listed in '
                f'{self._file}')

    def _look(self, runner, key: str, loader: Any) -> None:
        """At the images of a data set that says what to do with bad ones."""
        dataset = loader.dataset
        steps = checked_steps(dataset)
        if not steps:
            return
        others = passed_over(dataset) if is_main_process() else []
        if others:
            runner.logger.warning(
                f'{len(others)} files in the folders of `{key}` are not read, '
                f'by their extension: {by_extension(others)}. Those of them '
                'that are images take `extensions` in its `dataset`, or, '
                'where the folders are classes, a class')
        training = key == 'train_dataloader'
        if not training and any(step.bad_images == 'skip' for step in steps):
            raise ValueError(
                f"`{key}` has `bad_images='skip'` in its pipeline: a score "
                "would be of other images in the place of bad ones; take "
                "'raise', and delete those that are named")
        indices = np.arange(len(dataset))
        if training:
            indices = np.random.default_rng(0).permutation(indices)[:SAMPLE]
        elif get_world_size() > 1:  # each process looks at its share
            indices = indices[get_rank()::get_world_size()]
        infos = annotations(dataset, indices.tolist())
        bad = check_files(
            infos, loader.num_workers,
            min(getattr(step, 'max_pixels', MAX_PIXELS) for step in steps))
        if not training:
            bad = [one for share in all_gather_object(bad) for one in share]
            if bad:
                raise ValueError(
                    f'{len(bad)} images of `{key}` are bad: {counted(bad)}. '
                    f'{_shown(bad)}. Delete or mend them; `python '
                    'tools/analysis_tools/check_images.py` lists all')
        elif 2 * len(bad) > len(infos):
            raise ValueError(
                f'of {len(infos)} images of `{key}` that were looked at, '
                f'{len(bad)} are bad: {counted(bad)}. {_shown(bad)}')
        elif bad and all(step.bad_images == 'raise' for step in steps):
            one = bad[0]
            raise ValueError(
                f'`{key}`: {one.path!r} {one.reason}. It would end the '
                "training, since `bad_images` is 'raise'; with 'skip' another "
                'image is taken in its place')


def _shown(bad: List[BadImage]) -> str:
    examples = [f'{one.path!r} {one.reason}' for one in bad[:SHOWN]]
    more = len(bad) - len(examples)
    return '; '.join(examples) + (f'; and {more} more' if more else '')


def _why_empty(dataset: Any) -> str:
    if isinstance(dataset, FewLabels) and len(dataset.dataset):
        return f'it is the `part` {dataset.part!r} of a FewLabels whose ' \
            f'`labels_per_class` is {dataset.labels_per_class} and ' \
            f'`num_labelled` {dataset.num_labelled}'
    return 'no image was found where its config says'
