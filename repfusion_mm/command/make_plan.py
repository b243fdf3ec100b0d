"""Looks at what is there, settles what is done, and refuses what cannot be."""
import dataclasses
import os
import os.path as osp
import shutil
from collections import Counter
from functools import partial
from typing import Any, Dict, List, Optional, Sequence

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from rich.progress import track

from repfusion_mm.analysis.will_it_pay import LEAST_IMAGES as LEAST_HELD_OUT
from repfusion_mm.models.utils.building import build_part

from .choice import default_tap, looked_passes
from .configs import (
    classifier_config,
    distill_config,
    dpm_config,
    student_config,
    teacher_config,
)
from .images import (
    LEAST_IMAGES,
    find_images,
    mark_of,
    readable,
    short_side,
    without,
    write_lists,
)
from .installed import check_installed
from .labels import Labelled, Pair, check_classes, find_labelled, of_paths
from .plan import LISTS, TIMES, Plan, settled_plan
from .plan_error import PlanError
from .rules import LEAST_WATCHED, all_steps, batch_size, training_size
from .students import find_student
from .timing import Cost, cost_of

WATCHED = 0.05  # of the images, if that leaves enough
MOST_WATCHED = 256
WORKERS = 4


def make_plan(asked: Plan) -> Plan:
    """Settle a plan, or take up the one that the output folder has.

    Args:
        asked (Plan): The options, the rest empty.

    Returns:
        Plan: Written into the output folder, with the lists of images.

    Raises:
        PlanError: If it cannot be done.
    """
    _check_options(asked)
    found = find_images(asked.data)
    labelled = find_labelled(asked.labels, asked.val_share) \
        if asked.labels else Labelled([], [], [])
    pairs = [*labelled.train, *labelled.test]
    asked.mark = mark_of([*found.paths, *(path for path, _ in pairs)])
    before = settled_plan(asked)
    if before is not None:
        return before
    teacher_size = _teacher_size(asked) if asked.teacher else None
    plan = dataclasses.replace(asked, others=len(found.others))
    _read_images(plan, found.paths, labelled, teacher_size)
    student_config(plan)  # which may not suit the size
    plan.steps = all_steps(plan.images, plan.epochs, plan.teacher is None,
                           bool(plan.classes))
    plan.workers = max(0, min(WORKERS, _cores() - 1))
    _measure(plan)
    plan.write()
    return plan


def _check_options(asked: Plan) -> None:
    check_installed()
    find_student(asked.student)
    if asked.time not in TIMES:
        raise PlanError(f'--time is {asked.time!r}, expected one of '
                        f'{", ".join(TIMES)}')
    if asked.time == 'reinforced' and not asked.labels:
        raise PlanError('--time reinforced needs --labels: the policy learns '
                        'from what can be read of them')
    if asked.epochs is not None and not asked.epochs > 0:
        raise PlanError(f'--epochs is {asked.epochs}, expected more than 0')
    if not 0 < asked.val_share < 1:
        raise PlanError(f'--val-share is {asked.val_share}, expected a share '
                        'between 0 and 1')
    if asked.amp and get_device() not in ('cuda', 'cpu'):
        raise PlanError('--amp works on NVIDIA\'s GPUs and on CPUs, not on '
                        f'{get_device()}; leave it out, or add --device cpu')
    if asked.asked_size is not None:
        training_size(0, None, asked.asked_size)
    for name, given in (('DATA', asked.data), ('--labels', asked.labels)):
        if given and osp.isdir(given):
            _check_apart(name, given, asked.out)
    place = asked.out
    while not osp.exists(place):
        place = osp.dirname(place)
    if not os.access(place, os.W_OK):
        raise PlanError(f'--out is {asked.out!r}, which cannot be written to')


def _check_apart(name: str, given: str, out: str) -> None:
    """What is written would be taken for images, or overwrite some."""
    places = osp.realpath(given), osp.realpath(out)
    if osp.commonpath(places) in places:
        raise PlanError(f'--out is {out!r} and {name} is {given!r}, one '
                        'inside the other; name an --out beside it')


def _teacher_size(asked: Plan) -> int:
    """Side of the images that the named teacher was trained at; it loads."""
    name = asked.teacher or ''
    if name.startswith((os.sep, '.', '~')) and not osp.exists(name):
        raise PlanError(f'--teacher is {name!r}, which is not there; expected '
                        'a diffusers folder or a hub id')
    init_default_scope('mmpretrain')
    try:
        teacher: Any = build_part('teacher', teacher_config(asked))
        teacher.init_weights()
    except Exception as error:  # of diffusers, of the hub, of a broken file
        reason = ' '.join(str(error).split())
        raise PlanError(
            f'--teacher is {asked.teacher!r}, from which no diffusion model '
            'can be read; expected a diffusers folder or a hub id, such as '
            'google/ddpm-cifar10-32, or no --teacher for one of your images: '
            f'{reason}') from error
    return min(teacher.image_size)


def _read_images(plan: Plan, paths: List[str], labelled: Labelled,
                 teacher_size: Optional[int]) -> None:
    """Open all images, part them, and write the lists."""
    every = list(dict.fromkeys(
        [*paths, *(path for path, _ in [*labelled.train, *labelled.test])]))
    good, bad = readable(every, f'DATA is {plan.data!r}', LEAST_IMAGES,
                         partial(track, description='reading all images',
                                 total=len(every), transient=True))
    labelled = Labelled(labelled.classes, of_paths(labelled.train, good),
                        of_paths(labelled.test, good))
    check_classes(labelled)
    plan.broken, plan.classes = len(bad), labelled.classes
    plan.test = len(labelled.test)
    held_out = [path for path, _ in labelled.test]
    seen = without(good, held_out)
    plan.copies = len(set(good) - set(seen) - set(held_out))
    # an image that is held out is nowhere else
    train = of_paths(labelled.train, seen)
    check_classes(labelled._replace(train=train))
    plan.labelled = len(train)
    if plan.time == 'reinforced':
        _check_policy(train)
    watched = [] if plan.classes else _watched(seen)
    apart = set(watched)
    distilled = [path for path in seen if path not in apart]
    plan.images, plan.watched = len(distilled), len(watched)
    if plan.images < LEAST_IMAGES:
        raise PlanError(
            f'DATA is {plan.data!r}: {plan.images} images are left beside '
            f'those of --labels that are held out, at least {LEAST_IMAGES} '
            'are needed')
    plan.short_side = short_side(distilled)
    plan.size = training_size(plan.short_side, teacher_size, plan.asked_size)
    write_lists(plan.path(LISTS), dict(
        distill=distilled, watched=watched, labelled=train,
        test=labelled.test), bad)


def _check_policy(train: List[Pair]) -> None:
    """Of a single image of a class nothing can be held out."""
    counts = Counter(label for _, label in train)
    if sum(count for count in counts.values() if count > 1) < LEAST_HELD_OUT:
        raise PlanError(
            f'--time reinforced: at least {LEAST_HELD_OUT} images to learn '
            'from are needed whose class has another one')


def _watched(paths: Sequence[str]) -> List[str]:
    """Each so-and-so-manieth image, to watch the features on."""
    number = min(MOST_WATCHED, int(WATCHED * len(paths)))
    return [] if number < LEAST_WATCHED else \
        list(paths[::len(paths) // number])[:number]


def _measure(plan: Plan) -> None:
    """How long the trainings take, and what they write."""
    fixed = dataclasses.replace(plan, time='fixed')  # the policy is small
    costs: Dict[str, Cost] = {}
    for name, cfg in _trainings(fixed).items():
        try:
            costs[name] = cost_of(cfg)
        except torch.cuda.OutOfMemoryError as error:
            raise PlanError(
                f'{name}: a step of {batch_size(plan.images)} images of '
                f'{plan.size} pixels does not fit into the GPU; take a '
                'smaller --size, --student or --teacher, or --device cpu'
            ) from error
    if plan.classes:  # they differ in what they start from, and how long
        costs['scratch'] = costs['scratch_long'] = costs['distilled']
    plan.seconds = {name: cost.seconds for name, cost in costs.items()}
    plan.seconds['choice'] = plan.seconds['distill'] * looked_passes(
        plan.labelled) / batch_size(plan.images)
    written = [cost.megabytes for cost in costs.values()]
    # a checkpoint of each is kept, and there is one more when it is written;
    # what is exported is weights alone
    plan.megabytes = round(1.7 * sum(written) + max(written)) + 1
    free = shutil.disk_usage(plan.out).free / 1e6
    if free < plan.megabytes:
        raise PlanError(
            f'--out is {plan.out!r}, on a disk with {free:,.0f} MB free; '
            f'about {plan.megabytes:,} MB will be written')


def _trainings(plan: Plan) -> Dict[str, Config]:
    """One of each kind, that can be built before the others are done."""
    trainings: Dict[str, Config] = {}
    if plan.teacher is None:
        trainings['dpm'] = dpm_config(plan)
        teacher = dict(type='repfusion_mm.UNetTeacher',
                       config=trainings['dpm'].model.denoiser.to_dict())
    else:
        teacher = teacher_config(plan)
    trainings['distill'] = distill_config(plan, teacher,
                                          default_tap(teacher), 0)
    if plan.classes:
        trainings['distilled'] = classifier_config(plan, 'scratch', None)
    return trainings


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(
        os, 'sched_getaffinity') else os.cpu_count() or 1
