"""Will it pay to distil a teacher, for some images with so few labels?"""
import copy
import re
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from repfusion_mm.models.utils.building import build_part
from repfusion_mm.registry import DATASETS, MODELS

from .compare import Part, compare
from .look import at_chosen, best_of, even_times, finest_shape, look
from .looked_images import (
    LookedImages,
    can_be_held_out,
    draw_images,
    view_images,
)

LEAST_IMAGES = 10
DRAWS = 2000  # of the bootstrap
BLOCK = re.compile(r'(mid_block|up_blocks\.\d+)\.resnets\.\d+')


def will_it_pay(cfg: Config,
                taps: Optional[Sequence[str]] = None,
                val: Optional[dict] = None,
                num_times: int = 20,
                num_images: int = 256,
                views: int = 4,
                steps: int = 300,
                device: Any = 'cpu',
                progress: Callable = lambda things, what: things) -> dict:
    """Compare what the teacher knows with what the labels alone teach.

    At each tap and time step a ridge regression reads the labels from z(t),
    of images that it was not fitted to. At the best of them it is compared
    with the student, trained shortly from scratch on the same images: both
    without the same fifth of them, which they then predict, or on all of
    them where there are validation images to predict. The labels that are
    predicted do not choose the tap and the time step. Masks and keypoints are
    read there from both by a head that is trained as long, see
    :func:`compare`; of keypoints those are right that are found within a
    twentieth of the image's sides.

    A short training says little where a longer one would say more. The
    student is trained for half of the steps as well, and distillation is
    said to pay only if the teacher were ahead of a student that gains as much
    once more.

    Args:
        cfg (Config): Of stage 1: a :class:`RepFusion` with
            ``train_dataloader``, some of whose images are labelled.
        taps (Sequence[str], optional): Teacher taps. Defaults to None: the
            config's own, and :func:`candidate_taps`.
        val (dict, optional): Config of a data set of labelled images to be
            predicted. Defaults to None.
        num_times (int): Time steps. Defaults to 20.
        num_images (int): Labelled images at most. Defaults to 256.
        views (int): Of each image. Defaults to 4.
        steps (int): Of each training, of which there are 5 from scratch, 5
            half as long, and of masks and keypoints 5 on the teacher's
            features. Defaults to 300.
        device (torch.device): For all of it. Defaults to the CPU.
        progress (Callable): Wraps what is gone through, given its name.

    Returns:
        dict: ``taps``, the record of a look at each of them; ``tap`` and
        ``t``, the best; ``probe`` and ``scratch``, shares of right
        predictions; ``gain``, their difference, and ``low`` and ``high``, its
        90 percent interval over the images; ``learning``, how much less
        ``scratch`` is if it is trained half as long, and ``low_if_longer``,
        as ``low``, if twice as long gave as much; ``constant``, what the same
        answer to all images gets; ``kind`` of the labels; ``verdict``,
        ``'yes'``, ``'no'`` or ``'open'``, and ``advice``.

    Raises:
        ValueError: If the config is not of stage 1, has fewer than 10 labelled
            images, a tap does not exist, or the teacher is told the labels.
    """
    model, taps = tapped_model(cfg, taps, device)
    dataset = _dataset(cfg.train_dataloader.dataset)

    def view(images: Any, number: int, views: int,
             what: str) -> Optional[LookedImages]:
        indices = draw_images(images, number)
        return view_images(images, list(progress(indices, what)), views,
                           model.data_preprocessor, model.raw_image)

    looked = view(dataset, num_images, views, 'reading images')
    looked = looked and can_be_held_out(looked)
    if looked is None or len(looked.indices) < LEAST_IMAGES:
        raise ValueError(
            f'at least {LEAST_IMAGES} labelled images are needed, of no class '
            'a single one, but `train_dataloader.dataset` has '
            f'{0 if looked is None else len(looked.indices)}')
    looks = look(
        model.teacher, looked, even_times(model.teacher.num_timesteps,
                                          num_times), taps, device=device,
        progress=lambda times: progress(times, 'probing taps and times'))
    shape = finest_shape(model.teacher, taps)
    classes = len(getattr(dataset, 'metainfo', {}).get('classes') or ()) or \
        None
    learn = Part(dataset, looked, shape, classes)
    targets = learn.targets('cpu')
    if classes is None:  # a batch may lack some that another has
        learn = learn._replace(num_classes=targets.values.size(2))
    test = learn
    if val is not None:
        others = _dataset(val)
        shown = view(others, len(others), 1, 'reading val images')
        if shown is None:
            raise ValueError('no image of `val` is labelled')
        test = Part(others, shown, shape, learn.num_classes)

    def student() -> nn.Module:
        backbone: Any = build_part(
            'backbone', copy.deepcopy(cfg.model.backbone))
        backbone.init_weights()
        return backbone.to(device)

    probe, scratch, half, constant = compare(
        model, student, learn, test, looks, steps, device, progress)
    learning = scratch - half
    tap, t = best_of(looks)
    result = dict(
        images=len(looked.indices), views=views, steps=steps,
        predicted=len(probe),
        taps={name: one.record() for name, one in looks.items()},
        tap=tap, t=t, probe=float(probe.mean()),
        scratch=float(scratch.mean()), learning=float(learning.mean()),
        low_if_longer=interval(probe - scratch - learning)['low'],
        constant=float(constant.mean()), kind=targets.kind,
        **interval(probe - scratch))
    result.update(advise(result, model.connections[0].teacher_tap))
    return result


def candidate_taps(teacher: Any) -> List[str]:
    """Taps worth comparing, of a teacher that is a diffusers UNet.

    Args:
        teacher (nn.Module): A teacher; one of another kind has none.

    Returns:
        list[str]: The last residual block of the middle, the first and the
        last of each block on the way up.
    """
    source = getattr(teacher, 'source', None)
    if source is None:
        return []
    with torch.device('meta'):
        names = sorted(name for name, _ in source.build().named_modules()
                       if BLOCK.fullmatch(name))
    blocks: Dict[str, List[str]] = {}
    for name in names:
        blocks.setdefault(name.partition('.resnets')[0], []).append(name)
    return [name for block, found in blocks.items() for name in
            (found[-1:] if block == 'mid_block' else
             dict.fromkeys([found[0], found[-1]]))]


def interval(differences: Tensor, draws: int = DRAWS) -> dict:
    """A mean, and its 90 percent interval by the bootstrap over images.

    Args:
        differences (Tensor): Of the images, (N,).
        draws (int): Of the bootstrap. Defaults to 2000.

    Returns:
        dict: ``gain``, ``low`` and ``high``.
    """
    values = differences.numpy()
    generator = np.random.default_rng(0)
    means = [generator.choice(values, len(values)).mean()
             for _ in range(draws)]
    low, high = np.quantile(means, [0.05, 0.95])
    return dict(gain=float(values.mean()), low=float(low), high=float(high))


def advise(result: dict, own_tap: str) -> dict:
    """What follows, in words.

    Args:
        result (dict): As of :func:`will_it_pay`, without it.
        own_tap (str): The tap that the config names.

    Returns:
        dict: ``verdict`` and ``advice``.
    """
    tap, t, steps = result['tap'], result['t'], result['steps']
    probe, scratch, gain, low, high, learning, longer, constant = (
        100 * result[key] for key in (
            'probe', 'scratch', 'gain', 'low', 'high', 'learning',
            'low_if_longer', 'constant'))
    reader = f'a head that was trained for {steps} steps on' \
        if result['kind'] in ('mask', 'keypoint') else 'a linear probe of'
    seen = f'Of {result["predicted"]} images that neither had seen, ' \
        f'{reader} the teacher reads {probe:.1f} % right (tap {tap!r}, t = ' \
        f'{t}), the student from scratch {scratch:.1f} % after {steps} ' \
        f'steps: {gain:+.1f} points, {low:+.1f} to {high:+.1f} with 90 % ' \
        'confidence over the images.'
    if low > 0 and scratch <= constant:
        verdict, says = 'open', 'It is open whether distillation pays: from ' \
            'scratch the student has not begun to learn, the same answer to ' \
            f'all images gets {constant:.1f} %. Ask again with more ' \
            '`--steps`.'
    elif low > 0 and (learning <= 0 or longer > 0):
        verdict, says = 'yes', 'Distillation should pay: the teacher knows ' \
            'what these labels alone do not teach.'
    elif low > 0:
        verdict, says = 'open', 'It is open whether distillation pays: from ' \
            'scratch the student is still learning, trained half as long it ' \
            f'reads {learning:.1f} points less. If the fine-tuning has more ' \
            'steps than these, ask again with as many (`--steps`).'
    elif high < 0:
        verdict, says = 'no', 'Distillation is unlikely to pay: the labels ' \
            'alone teach more than this teacher knows. Spend the time on ' \
            'training from scratch for longer, or on a better teacher.'
    else:
        verdict, says = 'open', 'It is open whether distillation pays: ' \
            'these images do not tell. More of them would (`--val`); a ' \
            'short trial of both is the way to know.'
    if tap != own_tap and own_tap in result['taps']:
        worth, own = (100 * at_chosen(result['taps'][name], 'score')
                      for name in (tap, own_tap))
        says += f' Change the tap: at its best t, {own_tap!r} of the config ' \
            f'reads {own:.1f} % and {tap!r} {worth:.1f} % of the images ' \
            'that are left out one by one.'
    return dict(verdict=verdict, advice=f'{seen} {says}')


def recommended(cfg: Config, result: dict) -> dict:
    """What a config changes to distil the best tap at the best time step.

    Args:
        cfg (Config): As :func:`will_it_pay` was given it.
        result (dict): What it answered.

    Returns:
        dict: To be merged into the config.
    """
    connections = copy.deepcopy(list(cfg.model.connections))
    connections[0]['teacher_tap'] = result['tap']
    hooks = copy.deepcopy(list(cfg.get('custom_hooks') or []))
    for hook in hooks:
        if hook['type'].endswith('TimeSamplerHook'):
            hook.pop('schedules', None)  # of a sampler that is not there
    model: dict = dict(
        time_sampler=dict(_delete_=True, type='repfusion_mm.FixedTime',
                          t=result['t']),
        connections=[connection.to_dict() if hasattr(connection, 'to_dict')
                     else dict(connection) for connection in connections])
    if cfg.model.get('reward') is not None:
        model['reward'] = None
    teacher = cfg.model.teacher
    if 'teacher' in teacher:
        model['teacher'] = dict(
            timesteps=[result['t']], bin_width=1,
            bank=f'{teacher.bank}_{result["tap"]}_t{result["t"]}')
    if teacher.get('taps'):
        model.setdefault('teacher', {})['taps'] = list(dict.fromkeys(
            connection['teacher_tap'] for connection in connections))
    return dict(model=model, custom_hooks=[dict(hook) for hook in hooks])


def tapped_model(cfg: Config, taps: Optional[Sequence[str]],
                 device: Any) -> tuple:
    """The model with its teacher, tapped wherever it is to be compared.

    Args:
        cfg (Config): As of :func:`will_it_pay`.
        taps (Sequence[str], optional): As there.
        device (torch.device): For the model.

    Returns:
        tuple: The :class:`RepFusion` with its weights, and the taps.
    """
    model: Any = copy.deepcopy(cfg.get('model') or {})
    if str(model.get('type', '')).rpartition('.')[2] != 'RepFusion':
        raise ValueError(f'`model.type` is {model.get("type")!r}, expected '
                         'the config of a stage 1, repfusion_mm.RepFusion')
    if 'teacher' in model.teacher:  # of a bank, which holds only a few t
        model.teacher = model.teacher.teacher
    own = [connection['teacher_tap'] for connection in model.connections]
    model.teacher.taps = own
    taps = list(taps or dict.fromkeys(
        own + candidate_taps(build_part('teacher', model.teacher))))
    model.teacher.taps = list(dict.fromkeys(own + taps))
    model.time_sampler = dict(type='repfusion_mm.FixedTime', t=0)
    model.reward = None
    built = MODELS.build(model)
    if built.teacher.reads_labels and not built.teacher.allows_label_leak:
        raise ValueError(
            'the teacher is told the label of each image, which would be read '
            'from z(t) again: any t would look good. Use a fixed class or an '
            'average, or say `leak_labels=True`')
    built.init_weights()
    return built.to(device), taps


def _dataset(cfg: Any) -> Any:
    dataset = DATASETS.build(cfg) if isinstance(cfg, dict) else cfg
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return dataset
