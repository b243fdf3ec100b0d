"""Whether the student's features get better, while it is distilled."""
import json
import os.path as osp
import time
from typing import Annotated, Any, Dict, List, Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from torch import Tensor

from repfusion_mm.analysis.feature_quality import feature_quality
from repfusion_mm.analysis.looked_images import draw_images, preprocessed
from repfusion_mm.arguments.annotations import AtLeast, Count
from repfusion_mm.engine.resuming.atomic_write import ATOMIC
from repfusion_mm.models.labels import labelled_mask
from repfusion_mm.models.rewards.targets import GRID, grid_rows, read_targets
from repfusion_mm.models.utils.building import build_dataset
from repfusion_mm.registry import HOOKS

from .bare_model import bare_model
from .random_state import same_random_state

SHARE = 0.05  # of the training's time; more is said to be much
LEAST_IMAGES = 10
MEASURES = ('probe', 'knn', 'rank')  # of these more is better
BATCH = 64


@HOOKS.register_module()
class FeatureQualityHook(Hook):
    """Measures the student's features on held-out images, over the training.

    Stage 1 has no validation loop, and its loss does not tell whether the
    features become useful. This hook takes images of its own, and measures
    before the first step, at each interval and at the end: with labels a
    linear probe and the nearest neighbours (classes; of masks at each cell of
    a coarse grid; of keypoints the probe alone), without labels the effective
    rank, uniformity and, if the pipeline augments, alignment; see
    :func:`feature_quality`. All go to the log and the visualizer as
    ``quality/<measure>``, to ``<work_dir>/feature_quality.jsonl``, and into a
    picture. The checkpoint with the best value is kept as
    ``best_<measure>.pth``, of the weights alone; the training can end where
    it no longer gets better. The training's own random numbers are the same
    as without it. Of several processes the first one measures.

    Args:
        dataset (dict): Images that the training does not see, with their
            pipeline. Labelled, if some are.
        interval (int, optional): Iterations between two measurements.
            Defaults to None: a twentieth of the training.
        num_images (int): Images at most, of all that are there, drawn once.
            Defaults to 512.
        keep_best (str, optional): ``'probe'``, ``'knn'`` or ``'rank'``.
            Defaults to None: the probe with labels, or else the rank.
        patience (int, optional): The training ends after so many measurements
            without a better one. Defaults to None: it does not.

    Raises:
        ValueError: If there are fewer than 10 images, or the best cannot be
            told by what is asked for.

    Example:
        >>> custom_hooks = [
        ...     dict(type='repfusion_mm.FeatureQualityHook', interval=500,
        ...          dataset=dict(type='repfusion_mm.Digits', split='val',
        ...                       pipeline=[dict(type='PackInputs')]))]
    """
    priority = 'LOW'  # behind the optimiser's step and its record

    def __init__(self,
                 dataset: dict,
                 interval: Optional[Count] = None,
                 num_images: Annotated[int, AtLeast(LEAST_IMAGES)] = 512,
                 keep_best: Optional[str] = None,
                 patience: Optional[Count] = None) -> None:
        if keep_best not in (None, *MEASURES):
            raise ValueError(f'`keep_best` is {keep_best!r}, expected one of '
                             f'{MEASURES}')
        self.dataset, self.interval = dataset, interval
        self.num_images = num_images
        self.keep_best, self.patience = keep_best, patience

    def before_train(self, runner) -> None:
        """Choose the images, and measure what training begins with.

        Args:
            runner (Runner): Its model has a ``backbone``.

        Raises:
            TypeError: If it has none.
            ValueError: If the images will not do.
        """
        if not hasattr(bare_model(runner), 'backbone'):
            raise TypeError(
                'FeatureQualityHook measures a `backbone`, which '
                f'{type(bare_model(runner)).__name__} does not have')
        self._interval = self.interval or max(1, runner.max_iters // 20)
        self._seconds, self._begun = 0., time.time()
        self._history: List[dict] = []
        if is_main_process():
            self.dataset = build_dataset('dataset', self.dataset)
            with same_random_state():
                np.random.seed(0)
                self._images = draw_images(self.dataset, self.num_images,
                                           labelled=False)
            self._read_history(runner)
            if len(self._images) < LEAST_IMAGES:
                raise ValueError(
                    f'FeatureQualityHook needs at least {LEAST_IMAGES} '
                    f'images, but its `dataset` has {len(self._images)}')
        if runner.iter == 0:
            self._measure(runner, 0)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None,
                         outputs=None) -> None:
        """Measure at the interval, and at the end.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Not used.
            data_batch (dict): Not used.
            outputs (dict): Not used.
        """
        if self.every_n_train_iters(runner, self._interval) or \
                self.is_last_train_iter(runner):
            self._measure(runner, runner.iter + 1)

    def after_train(self, runner) -> None:
        """Say what was found, and what it took.

        Args:
            runner (Runner): The runner.
        """
        if not is_main_process() or not self._history:
            return
        measure = self._measure_of_best(self._history[0])
        best = max(self._history, key=lambda row: row[measure])
        runner.logger.info(
            f'Features by `{measure}`: {self._history[0][measure]:.1f} at '
            f'first, {self._history[-1][measure]:.1f} at the end, '
            f'{best[measure]:.1f} at best, after {best["iter"]} iterations')
        share = self._seconds / max(time.time() - self._begun, 1e-9)
        if share > SHARE:
            runner.logger.warning(
                f'FeatureQualityHook took {share:.0%} of the training: a '
                f'longer `interval` than {self._interval}, or fewer '
                f'`num_images` than {len(self._images)}, would take less')

    # --- measuring ----------------------------------------------------------
    def _measure(self, runner, step: int) -> None:
        begun, ends = time.time(), [False]
        if is_main_process():
            found = self._quality(runner)
            self._report(runner, step, found)
            ends = [self._keep(runner)]
        broadcast_object_list(ends)
        if ends[0]:
            runner.train_loop.stop_training = True
        self._seconds += time.time() - begun

    @torch.no_grad()
    def _quality(self, runner) -> Dict[str, float]:
        model: Any = bare_model(runner)
        # whose batch norms count the batches that they see in training
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            with same_random_state():
                features, samples, size = self._features(runner, model)
                if all(_is_labelled(samples)):
                    targets = read_targets(samples, size, features.shape[1:])
                    return feature_quality(
                        grid_rows(features, targets.grid), targets)
                others, _, _ = self._features(runner, model)
            rows, theirs = (grid_rows(one, None) for one in (features, others))
            return feature_quality(
                rows, None, None if torch.equal(rows, theirs) else theirs)
        finally:
            for module, mode in modes:
                module.training = mode

    def _features(self, runner, model) -> Tuple[Tensor, list, Any]:
        """Last outputs of the student, the samples, and the images' size."""
        collate = runner.train_dataloader.collate_fn
        features: List[Tensor] = []
        samples: list = []
        for start in range(0, len(self._images), BATCH):
            batch = preprocessed(
                self.dataset, self._images[start:start + BATCH],
                model.data_preprocessor, collate)
            output = model.backbone(batch['inputs'])
            last = output[-1] if isinstance(output, (tuple, list)) else output
            features.append(_coarse(last).cpu())
            samples += batch.get('data_samples') or []
        return torch.cat(features), samples, batch['inputs'].shape[2:]

    # --- what is made of it -------------------------------------------------
    def _measure_of_best(self, row: dict) -> str:
        measure = self.keep_best or ('probe' if 'probe' in row else 'rank')
        if measure not in row:
            raise ValueError(
                f'FeatureQualityHook\'s `keep_best` is {measure!r}, but its '
                f'`dataset` tells {[key for key in row if key in MEASURES]}')
        return measure

    def _report(self, runner, step: int, found: Dict[str, float]) -> None:
        self._history.append(dict(
            iter=step, **{name: round(value, 4)
                          for name, value in found.items()}))
        with open(self._path(runner), 'a') as file:
            file.write(json.dumps(self._history[-1]) + '\n')
        runner.visualizer.add_scalars(
            {f'quality/{name}': value for name, value in found.items()},
            step=step)
        runner.logger.info(f'Features after {step} iterations: ' + ', '.join(
            f'{name} {value:.2f}' for name, value in found.items()))
        if len(self._history) > 1:
            runner.visualizer.add_image(
                'feature_quality', draw_history(self._history), step=step)

    def _keep(self, runner) -> bool:
        """Save the weights if they are the best; whether to end."""
        measure = self._measure_of_best(self._history[-1])
        values = [row[measure] for row in self._history]
        best = int(np.argmax(values))
        if best == len(values) - 1 and len(values) > 1:
            runner.save_checkpoint(
                runner.work_dir, f'best_{measure}.pth', save_optimizer=False,
                save_param_scheduler=False, meta=dict(self._history[-1]),
                by_epoch=False, backend_args=dict(backend=ATOMIC))
        in_vain = len(values) - 1 - best
        if self.patience is None or in_vain < self.patience:
            return False
        runner.logger.info(
            f'The features are no better by `{measure}` than '
            f'{in_vain} measurements ago: the training ends')
        return True

    @staticmethod
    def _path(runner) -> str:
        return osp.join(runner.work_dir, 'feature_quality.jsonl')

    def _read_history(self, runner) -> None:
        """What a training that is resumed has measured up to here."""
        if not osp.exists(self._path(runner)):
            return
        with open(self._path(runner)) as file:
            rows = [json.loads(line) for line in file if line.endswith('\n')]
        self._history = [row for row in rows if runner.iter and
                         row['iter'] <= runner.iter]
        with open(self._path(runner), 'w') as file:
            file.writelines(json.dumps(row) + '\n' for row in self._history)


def draw_history(history: List[dict]) -> np.ndarray:
    """The measurements over the training, as a picture.

    Args:
        history (list[dict]): ``iter`` and the measures.

    Returns:
        np.ndarray: (H, W, 3), uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    names = [name for name in history[0] if name != 'iter']
    figure = Figure(figsize=(3 * len(names), 2.5), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0],
                          names):
        axes.plot([row['iter'] for row in history],
                  [row[name] for row in history], marker='.')
        axes.set(title=name, xlabel='iteration')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _coarse(feature: Tensor) -> Tensor:
    """A map no finer than the grid that labels are read at; or a vector."""
    feature = feature.float()
    if feature.dim() == 2:
        return feature
    height, width = feature.shape[2:]
    return F.adaptive_avg_pool2d(feature,
                                 (min(height, GRID), min(width, GRID)))


def _is_labelled(samples: list) -> List[bool]:
    try:
        return labelled_mask(samples).tolist() if samples else [False]
    except ValueError:  # samples that know of no labels
        return [False]
