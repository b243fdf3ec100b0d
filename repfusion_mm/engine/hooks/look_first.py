"""The look at all time steps before the first step."""
import os.path as osp
import time
from typing import Any, List, NamedTuple, Optional

import mmengine
import numpy as np
from mmengine.dist import broadcast, broadcast_object_list, is_main_process
from rich.progress import track

from repfusion_mm.analysis.figures import draw_rank
from repfusion_mm.analysis.look import Look, even_times, look
from repfusion_mm.analysis.looked_images import (
    LookedImages,
    can_be_held_out,
    draw_images,
    view_images,
)
from repfusion_mm.models.rewards.held_out_reward import HeldOutFits
from repfusion_mm.models.rewards.targets import GRID

from .bare_model import bare_model
from .random_state import same_random_state

TIMES = 20  # time steps are looked at
LEAST_IMAGES, MOST_IMAGES, MOST_VIEWS = 20, 512, 4
MOST_ROWS = 8192  # of a regression: images, views and positions


class _Looked(NamedTuple):
    """What is to be looked at, and by which reward."""
    images: LookedImages
    reward: str


def look_first(runner) -> None:
    """Have the time sampler learn from a look, if it asks for one.

    The look takes at most ``look.share`` of the passes that the teacher makes
    in the whole training; of a training of very few steps it is 20 images
    nevertheless. The first process looks, and what its sampler (and a
    :class:`HeldOutReward`) learnt goes to the others. The random numbers of
    the training are the same as without it. A training that is resumed has
    looked already.

    Args:
        runner (Runner): Its model has a ``time_sampler``; what was seen is
            written to ``<work_dir>/look.json`` and drawn in the visualizer.

    Raises:
        ValueError: If nothing can be looked at, or the reward learns from
            a look that there is not.
    """
    model: Any = bare_model(runner)
    sampler = model.time_sampler
    learns = getattr(model.reward, 'learns_from_look', False)
    if getattr(sampler, 'look_options', None) is None:
        if learns:
            model.reward.check_learnt()
        return
    if runner.iter > 0:
        return
    fits: List[Optional[HeldOutFits]] = [None]
    if is_main_process():
        with same_random_state():
            begun = time.time()
            seen = _look(runner, model, learns)
            sampler.learn_from(seen)
            fits = [seen.fits]
            _report(runner, model, seen, time.time() - begun)
    state = sampler.state_dict()
    for tensor in state.values():
        broadcast(tensor)
    sampler.load_state_dict(state)
    if learns:
        broadcast_object_list(fits)
        if fits[0] is None:
            raise ValueError(
                f'`reward` {type(model.reward).__name__} reads labels, but '
                'the look was without them: leave out '
                '`time_sampler.look.reward`, and label at least 3 images')
        model.reward.learn_from(fits[0])


def _look(runner, model, fit: bool) -> Look:
    timesteps = _timesteps(model)
    tap = getattr(model.reward, 'tap', None) or \
        model.connections[0].teacher_tap
    shape = model.teacher.feature_shapes[tap]
    budget = int(model.time_sampler.look_options.share * _passes(runner))
    looked = _images(runner, model, budget // len(timesteps), shape)
    return look(
        model.teacher, looked.images, timesteps, [tap], looked.reward,
        getattr(model.reward, 'ignore_index', 255), _batch_size(runner),
        next(model.parameters()).device,
        lambda times: track(times, 'looking at the time steps',
                            transient=True), fit)[tap]


def _timesteps(model) -> List[int]:
    """The middles of equal ranges, or those that a bank holds."""
    end = max((high for _, high in model.time_sampler.ranges),
              default=model.teacher.num_timesteps)
    if not model.teacher.looks_once:
        return even_times(end, TIMES)
    stored = sorted(t for t in model.teacher.timesteps if t < end)
    if not stored:
        raise ValueError(
            f'`teacher.timesteps` has no t below {end}, where `time_sampler` '
            'draws from: there is nothing to look at')
    places = np.linspace(0, len(stored) - 1, min(TIMES, len(stored)))
    return [stored[place] for place in places.round().astype(int)]


def _images(runner, model, budget: int, shape) -> _Looked:
    """Labelled images, if there are some and they may be read, or any."""
    reward = model.time_sampler.look_options.reward
    may_read = not model.teacher.reads_labels and (
        model.reward is None or model.reward.reads_labels)
    budget = max(budget, LEAST_IMAGES)
    if reward == 'labels' or (reward is None and may_read):
        looked = _view(runner, model, min(budget, MOST_IMAGES), budget, shape)
        looked = looked and can_be_held_out(looked)
        if looked is not None and len(looked.indices) > 2:
            return _Looked(looked, 'labels')
        if reward == 'labels':
            raise ValueError(
                "`time_sampler.look.reward` is 'labels', which takes at least "
                '3 labelled images, of no class a single one, but '
                '`train_dataloader.dataset` has fewer; leave it out to look '
                'without labels')
    if reward is None:
        reward = 'frequency' if len(shape) == 3 else 'views'
    views = dict(frequency=1, views=2)[reward]
    looked = _view(runner, model, max(min(budget // views, MOST_IMAGES), 2),
                   views, shape, labelled=False)
    if looked is None:
        raise ValueError('`train_dataloader.dataset` is empty')
    return _Looked(looked, reward)


def _view(runner, model, number: int, budget: int, shape,
          labelled: bool = True) -> Optional[LookedImages]:
    """Images in as many views as the budget allows."""
    dataset = runner.train_dataloader.dataset
    indices = draw_images(dataset, number, labelled)
    if not indices:
        return None
    views = budget
    if labelled:
        if _is_dense(dataset, indices[0]):
            cells = int(np.prod([min(side, GRID) for side in shape[1:]]))
            budget = min(budget, max(MOST_ROWS // cells, LEAST_IMAGES))
            indices = indices[:budget]
        views = max(1, min(budget // len(indices), MOST_VIEWS))
    return view_images(
        dataset, list(track(indices, 'looking for images', transient=True)),
        views, model.data_preprocessor, model.raw_image,
        runner.train_dataloader.collate_fn, labelled)


def _is_dense(dataset: Any, index: int) -> bool:
    info = dataset.get_data_info(index) \
        if hasattr(dataset, 'get_data_info') else {}
    return 'gt_label' not in info and 'gt_score' not in info


def _batch_size(runner) -> int:
    loader = runner.train_dataloader
    return loader.batch_size or getattr(
        loader.batch_sampler, 'batch_size', None) or 1


def _passes(runner) -> int:
    """Images that the teacher sees in the whole training, in one process."""
    return runner.max_iters * _batch_size(runner)


def _report(runner, model, seen: Look, seconds: float) -> None:
    count, views = seen.images.shape[:2]
    passes = count * views * len(seen.timesteps)
    share = passes / _passes(runner)
    record = seen.record()
    record.update(seconds=round(seconds, 2), teacher_passes=passes,
                  num_draws=getattr(model.time_sampler, 'num_draws', 1),
                  share_of_passes=round(share, 4))
    limit = model.time_sampler.look_options.share
    runner.logger.info(
        f'Looked at {count} images in {views} view(s) at '
        f'{len(seen.timesteps)} time steps before the first step, by '
        f'{seen.reward}: {passes} passes of the teacher, {100 * share:.1f} % '
        f'of those of the training, in {seconds:.1f} s. t = {seen.best_t} is '
        'worth the most.')
    draws = getattr(model.time_sampler, 'num_draws', 1)
    if draws > 1:
        runner.logger.info(
            f'Beside it, each step draws {draws} time steps for each image '
            f'that has a reward, which the teacher sees {draws - 1} more '
            'time(s)')
    if share > limit:
        runner.logger.warning(
            f'The look took more than `time_sampler.look.share`, {limit}: '
            f'{LEAST_IMAGES} images are the least, and this training is short')
    mmengine.dump(record, osp.join(runner.work_dir, 'look.json'))
    runner.visualizer.add_image('look', draw_look(record), step=0)


def draw_look(record: dict) -> np.ndarray:
    """What the time steps are worth, as a picture.

    Args:
        record (dict): As of :meth:`Look.record`.

    Returns:
        np.ndarray: (H, W, 3), uint8.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(4, 2.5), layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.errorbar(record['t'], record['reward'], record['std_error'],
                  marker='.', capsize=2)
    axes.plot(record['t'], record['smoothed'])
    axes.axvline(record['chosen_t'], linestyle=':')
    axes.set(xlabel='time step t', ylabel=f'worth, by {record["rewarded"]}')
    draw_rank(axes, record)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
