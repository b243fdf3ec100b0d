"""The teacher, the student and the images of a config, to look into."""
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import torch
from mmengine.runner import load_checkpoint
from torch import Tensor

from repfusion_mm.converters.student_model import build_preprocessor
from repfusion_mm.models.utils.building import build_dataset, build_part
from repfusion_mm.models.utils.raw_images import build_raw_image
from repfusion_mm.registry import MODELS

from .looked_images import LookedImages, draw_images, preprocessed
from .will_it_pay import candidate_taps

SPLITS = ('train', 'val', 'test')
BATCH = 64


class StudiedImages(NamedTuple):
    """N images of a data set.

    Attributes:
        looked (LookedImages): One view of each.
        inputs (Tensor): The same as the student takes them, preprocessed,
            (N, C, H, W), on the CPU.
        classes (tuple[str, ...]): The data set's names of its classes.
    """
    looked: LookedImages
    inputs: Tensor
    classes: Tuple[str, ...]


def teacher_config(cfg: Any) -> dict:
    """A config's teacher; of a bank the one that it asks.

    Args:
        cfg (Config): With a ``teacher`` or a ``model.teacher``.

    Returns:
        dict: Of the teacher.

    Raises:
        ValueError: If there is none.
    """
    teacher = cfg.get('teacher') or (cfg.get('model') or {}).get('teacher')
    if teacher is None:
        raise ValueError('the config has no `model.teacher` and no `teacher`')
    return dict(teacher.get('teacher', teacher))


def study_teacher(cfg: Any, taps: Optional[Sequence[str]] = None,
                  device: Any = 'cpu') -> Any:
    """A config's teacher with its weights.

    Args:
        cfg (Config): As of :func:`teacher_config`.
        taps (Sequence[str], optional): Where it is looked into; none of them
            are the :func:`candidate_taps`. Defaults to None: the config's
            own, in ``teacher.taps`` or the connections.
        device (torch.device): For it. Defaults to the CPU.

    Returns:
        nn.Module: A teacher; its ``feature_shapes`` name the taps.

    Raises:
        ValueError: If it has no such taps.
    """
    config = teacher_config(cfg)
    if taps is None:
        own = [one['teacher_tap'] for one in
               (cfg.get('model') or {}).get('connections', [])]
        taps = config.get('taps') or list(dict.fromkeys(own)) or None
    elif not taps:
        taps = candidate_taps(build_part('teacher', config))
        if not taps:
            raise ValueError('of this teacher no taps are known: name some '
                             'with `--taps`; list_taps.py lists them')
    teacher = build_part('teacher', dict(config, taps=taps))
    teacher.init_weights()
    return teacher.to(device)


def study_student(cfg: Any, checkpoint: str, device: Any = 'cpu') -> Any:
    """A stage 1 with the weights of its student, policy and reward.

    Args:
        cfg (Config): Of a stage 1.
        checkpoint (str): Of its training.
        device (torch.device): For it. Defaults to the CPU.

    Returns:
        RepFusion: Not training, its teacher not read.

    Raises:
        ValueError: If the config is of something else.
    """
    model = dict(cfg.get('model') or {})
    if str(model.get('type', '')).rpartition('.')[2] != 'RepFusion':
        raise ValueError(f'`model.type` is {model.get("type")!r}, expected '
                         'the config of a stage 1, repfusion_mm.RepFusion')
    model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    built = MODELS.build(model)
    load_checkpoint(built, checkpoint, map_location='cpu')
    return built.to(device).eval()


def study_times(cfg: Any, teacher: Any, timesteps: Optional[Sequence[int]],
                number: int = 10) -> List[int]:
    """The time steps to look at, ascending.

    Args:
        cfg (Config): Whose ``timesteps`` they are, unless they are given.
        teacher (nn.Module): Which knows some.
        timesteps (Sequence[int], optional): Given ones.
        number (int): How many, where neither says any; they are spread
            evenly from 0 to the last. Defaults to 10.

    Returns:
        list[int]: Of the teacher.

    Raises:
        ValueError: If it does not know one.
    """
    last = teacher.num_timesteps - 1
    number = min(number, last + 1)
    found = sorted(set(timesteps or cfg.get('timesteps') or (
        round(i * last / max(number - 1, 1)) for i in range(number))))
    if not 0 <= found[0] <= found[-1] <= last:
        raise ValueError(f'`timesteps` is {found}, but the teacher knows 0 '
                         f'to {last}')
    return found


def study_images(cfg: Any, split: str, number: int, labelled: bool = False,
                 progress: Callable = iter) -> StudiedImages:
    """Some images of a config, drawn at random, as its pipeline gives them.

    Args:
        cfg (Config): With a ``<split>_dataloader``.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        number (int): How many at most.
        labelled (bool): Whether only labelled ones are drawn. Defaults to
            False.
        progress (Callable): Wraps the batches, to show progress.

    Returns:
        StudiedImages: All of one size.

    Raises:
        ValueError: If there are none, or of different sizes.
    """
    dataset = split_dataset(cfg, split)
    indices = draw_images(dataset, number, labelled)
    if not indices:
        raise ValueError(f'`{split}_dataloader.dataset` has no '
                         + ('labelled ' if labelled else '') + 'images')
    preprocessor, raw_image = preprocessing(cfg)
    inputs: List[Tensor] = []
    samples: List[Any] = []
    for start in progress(range(0, len(indices), BATCH)):
        batch = preprocessed(dataset, indices[start:start + BATCH],
                             preprocessor)
        inputs.append(batch['inputs'])
        samples += batch.get('data_samples') or []
    sizes = {tuple(one.shape[1:]) for one in inputs}
    if len(sizes) > 1:
        raise ValueError(f'`{split}_dataloader.dataset` gives images of '
                         f'different sizes, {sorted(sizes)}: its pipeline '
                         'needs a resize or a crop')
    found = torch.cat(inputs)
    raw = raw_image(found, preprocessor).round().to(torch.uint8)
    return StudiedImages(
        LookedImages(raw[:, None], samples, indices), found,
        tuple(getattr(dataset, 'metainfo', {}).get('classes') or ()))


def split_dataset(cfg: Any, split: str) -> Any:
    """The data set of a config's train, val or test images.

    Args:
        cfg (Config): With a ``<split>_dataloader``.
        split (str): ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        BaseDataset: Ready to be read.

    Raises:
        ValueError: If the config has no such dataloader.
    """
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        there = [one for one in SPLITS if cfg.get(f'{one}_dataloader')]
        raise ValueError(f'the config has no `{split}_dataloader`, only of '
                         f'{there}')
    dataset = build_dataset(f'{split}_dataloader.dataset', loader['dataset'])
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return dataset


def preprocessing(cfg: Any) -> Tuple[Any, Any]:
    """What preprocesses a config's images, and what takes that back.

    Args:
        cfg (Config): With ``data_preprocessor``, ``channel_order`` and
            ``raw_image``, or these in its ``model`` or, the first, in the
            ``task`` of that.

    Returns:
        tuple: The data preprocessor, and the RawImage.
    """
    model = cfg.get('model') or {}

    def said(key: str) -> Any:
        return model.get(key) or cfg.get(key)

    return build_preprocessor(cfg), build_raw_image(
        said('raw_image'), said('channel_order') or 'rgb')
