"""Which tap of the teacher is distilled, and at which time step."""
import gc
from typing import Any, Callable

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from repfusion_mm.analysis.look import best_of, even_times, look
from repfusion_mm.analysis.looked_images import (
    can_be_held_out,
    draw_images,
    view_images,
)
from repfusion_mm.analysis.will_it_pay import (
    LEAST_IMAGES,
    candidate_taps,
    tapped_model,
)
from repfusion_mm.models.utils.building import build_part
from repfusion_mm.registry import DATASETS

TIMES = 20
LABELLED, VIEWS = 256, 200  # labelled images, and views of all, at most
UNLABELLED = 64


def choose(cfg: Config, tap: str, labelled: dict, progress: Callable) -> dict:
    """Look at the time steps, by labels if there are any.

    With labels the taps are compared, too: each is worth what a regression
    reads from it of the labels of images that are left out. Without labels
    what two taps are worth cannot be compared.

    Args:
        cfg (Config): Of stage 1.
        tap (str): The tap that is taken without labels.
        labelled (dict): Config of a data set; empty without labels.
        progress (Callable): Wraps what is gone through, given its name.

    Returns:
        dict: ``tap``, ``t``, ``rewarded``, and ``taps``, the record of each
        look.
    """
    init_default_scope(cfg.default_scope)
    set_random_seed(0)
    wanted = labelled and candidate_taps(
        build_part('teacher', cfg.model.teacher)) or [tap]
    model, taps = tapped_model(cfg, wanted, get_device())
    looks = None
    if labelled:
        dataset: Any = DATASETS.build(labelled)
        indices = draw_images(dataset, LABELLED)
        looked = view_images(
            dataset, list(progress(indices, 'reading images')),
            _views(len(indices)), model.data_preprocessor, model.raw_image)
        looked = looked and can_be_held_out(looked)
        if looked is not None and len(looked.indices) >= LEAST_IMAGES:
            looks = _look(model, looked, taps, 'labels', progress)
    if looks is None:
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        reward = 'frequency' if len(model.teacher.feature_shapes[tap]) == 3 \
            else 'views'
        looked = view_images(
            dataset, draw_images(dataset, UNLABELLED, labelled=False),
            1 if reward == 'frequency' else 2, model.data_preprocessor,
            model.raw_image, labelled=False)
        looks = _look(model, looked, [tap], reward, progress)
    tap, t = best_of(looks)
    del model
    gc.collect()
    return dict(tap=tap, t=t, rewarded=looks[tap].reward,
                taps={name: one.record() for name, one in looks.items()})


def default_tap(teacher: dict) -> str:
    """The tap that is usual in a teacher's family.

    Args:
        teacher (dict): Its config.

    Returns:
        str: Of the teacher.
    """
    init_default_scope('mmpretrain')
    return next(iter(build_part('teacher', teacher).feature_shapes))


def looked_passes(labelled: int) -> int:
    """How many images the teacher sees for the choice, at most.

    Args:
        labelled (int): Labelled images, 0 without labels.

    Returns:
        int: Views of images at all time steps.
    """
    images = min(labelled, LABELLED)
    return TIMES * (images * _views(images) if labelled else UNLABELLED)


def _views(images: int) -> int:
    return max(1, min(4, VIEWS // images))


def _look(model: Any, looked: Any, taps: list, reward: str,
          progress: Callable) -> dict:
    return look(
        model.teacher, looked, even_times(model.teacher.num_timesteps, TIMES),
        taps, reward, device=get_device(),
        progress=lambda times: progress(times, 'looking at the time steps'))
