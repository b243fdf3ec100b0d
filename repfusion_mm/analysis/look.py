"""What every time step is worth, looked at before anything is trained."""
from typing import (
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import torch
from torch import Tensor

from repfusion_mm.models.labels import UNLABELLED_PIXEL
from repfusion_mm.models.losses.pooled import pooled
from repfusion_mm.models.rewards.held_out_reward import (
    FOLDS,
    HeldOutFits,
    folds_of,
)
from repfusion_mm.models.rewards.targets import Targets, read_targets
from repfusion_mm.models.time_samplers.look_options import LOOK_REWARDS
from repfusion_mm.models.time_samplers.looked_values import (
    LookedValues,
    looked_values,
    smoothed,
)
from repfusion_mm.models.utils.ridge import ridge_fit, ridge_residuals

from .label_free import (
    effective_rank,
    high_frequency_ratio,
    two_view_agreement,
)
from .looked_images import LookedImages

SCALES = (1., 2., 4., 8., 16., 32.)  # of class predictions, likewise
RIDGES = (1e-4, 1e-3, 0.01, 0.1, 1.)  # the best by its held-out error


class Look(NamedTuple):
    """What T time steps are worth for N images in V views, at one tap.

    Attributes:
        timesteps (list[int]): Ascending, T of them.
        rewards (Tensor): Of the views, float64, (N, V, T).
        scores (Tensor, optional): How right the held-out predictions are, 0
            to 1, alike; None without labels.
        images (Tensor): The views, raw, uint8, (N, V, 3, H, W).
        reward (str): ``'labels'``, ``'frequency'`` or ``'views'``.
        fits (HeldOutFits, optional): What reads the labels of other images,
            if it was asked for.
        rank (Tensor, optional): Effective rank of the averaged features at
            each time step, float64, (T,); where classes reward.
    """
    timesteps: List[int]
    rewards: Tensor
    scores: Optional[Tensor]
    images: Tensor
    reward: str
    fits: Optional[HeldOutFits] = None
    rank: Optional[Tensor] = None

    @property
    def believed(self) -> LookedValues:
        """What can be believed of it."""
        return looked_values(self.rewards, self.images, self.rank)

    @property
    def smoothed(self) -> Tensor:
        """The mean rewards, each averaged with its neighbours', (T,)."""
        return smoothed(self.rewards.mean((0, 1))[None])[0]

    @property
    def best(self) -> int:
        """Place of the time step that is believed to be worth the most."""
        return int(self.believed.mean.argmax())

    @property
    def best_t(self) -> int:
        """The t that is believed to be worth the most to all images."""
        return self.timesteps[self.best]

    def of(self, images: Sequence[int]) -> 'Look':
        """The look at some of the images alone.

        Args:
            images (Sequence[int]): Their numbers.

        Returns:
            Look: Of these.
        """
        return self._replace(
            rewards=self.rewards[images], images=self.images[images],
            scores=None if self.scores is None else self.scores[images])

    def record(self) -> dict:
        """The look in numbers, for a file.

        Returns:
            dict: ``t``, ``reward`` and ``std_error`` of each time step (of
            the mean over the images, of the differences between time steps),
            and what was made of them.
        """
        rewards = self.rewards.mean(1)
        own = rewards - rewards.mean(1, keepdim=True)
        errors = own.std(0) / len(own)**0.5 if len(own) > 1 else own[0] * 0
        believed = self.believed
        record = dict(
            rewarded=self.reward, images=len(own),
            views=self.rewards.size(1), t=self.timesteps,
            reward=rewards.mean(0).tolist(), std_error=errors.tolist(),
            smoothed=self.smoothed.tolist(),
            likeness=float(believed.likeness), chosen_t=self.best_t)
        if self.rank is not None:
            record['rank'] = self.rank.tolist()
        if self.scores is not None:
            record['score'] = self.scores.mean((0, 1)).tolist()
        return record


def at_chosen(record: dict, key: str) -> float:
    """What a record says at the time step that it chose.

    Args:
        record (dict): As of :meth:`Look.record`.
        key (str): Of it, such as ``'score'``.

    Returns:
        float: There.
    """
    return record[key][record['t'].index(record['chosen_t'])]


@torch.no_grad()
def look(teacher: Any,
         looked: LookedImages,
         timesteps: Sequence[int],
         taps: Sequence[str],
         reward: str = 'labels',
         ignore_index: int = UNLABELLED_PIXEL,
         batch_size: int = 64,
         device: Any = 'cpu',
         progress: Callable = iter,
         fit: bool = False) -> Dict[str, Look]:
    """Let the teacher look at some images at some time steps.

    With labels, a time step is worth what a ridge regression on z(t) predicts
    of the labels of an image that it was not fitted to, all views of it left
    out together: the log-probability of its class, or minus the squared error
    of all else. Each time step has the best of five penalties. Of classes the
    features' effective rank is heard, too, see :func:`looked_values`. Masks
    and keypoints are read on a grid of at most 8 x 8 cells.

    Args:
        teacher (nn.Module): With its weights.
        looked (LookedImages): The images, all labelled if the labels reward.
        timesteps (Sequence[int]): The time steps, ascending.
        taps (Sequence[str]): The teacher taps to be read.
        reward (str): ``'labels'``; ``'frequency'``, the
            :func:`high_frequency_ratio` of the map; or ``'views'``, the
            :func:`two_view_agreement`. Defaults to ``'labels'``.
        ignore_index (int): What unlabelled pixels of a mask hold. Defaults to
            255.
        batch_size (int): Images at a time. Defaults to 64.
        device (torch.device): The teacher's. Defaults to the CPU.
        progress (Callable): Wraps the time steps, to show progress.
        fit (bool): Whether the looks have ``fits``, where the labels reward.
            Defaults to False.

    Returns:
        dict[str, Look]: By tap.

    Raises:
        ValueError: If the reward does not suit what is looked at.
    """
    count, views = looked.images.shape[:2]
    if reward not in LOOK_REWARDS:
        raise ValueError(f'the look\'s `reward` is {reward!r}, expected one '
                         f'of {LOOK_REWARDS}')
    least = dict(labels=3, frequency=1, views=2)[reward]
    if count < least:
        raise ValueError(f'a look by {reward!r} takes at least {least} '
                         f'different images, but the data set has {count}')
    if reward == 'views' and views < 2:
        raise ValueError('a look by \'views\' takes at least 2 views of each '
                         'image')
    if reward == 'labels':
        targets = read_targets(
            looked.data_samples, looked.images.shape[3:],
            finest_shape(teacher, taps), ignore_index, device)
        read: Callable = targets.rows
        folds = folds_of(looked.data_samples[::views]).to(device) \
            if fit else None
    else:
        read = high_frequency_ratio if reward == 'frequency' else pooled
    for tap in taps:
        shape = tuple(teacher.feature_shapes[tap])
        if reward == 'frequency' and len(shape) != 3:
            raise ValueError(
                f'a look by \'frequency\' takes maps, but {tap!r} is of shape '
                f'{shape} (a feature bank holds averages); look by \'views\'')
    values: dict = {tap: [] for tap in taps}
    ranks: dict = {tap: [] for tap in taps}
    fits: dict = {tap: [] for tap in taps}
    for t in progress(timesteps):
        features = features_at(teacher, looked, t, taps, read, batch_size,
                               device)
        for tap, found in features.items():
            if not found.isfinite().all():
                raise FloatingPointError(
                    f'the teacher\'s feature {tap!r} is not finite at t = '
                    f'{t}: its weights are broken, or `teacher.dtype` does '
                    'not hold such values')
            if reward == 'labels':
                best = held_out(found, targets)
                values[tap].append(tuple(
                    one.view(found.shape[:2]) for one in
                    (best.rewards, targets.score(best.errors))))
                if targets.kind == 'class':
                    ranks[tap].append(effective_rank(found.flatten(0, 2)))
                if folds is not None:
                    fits[tap].append(_fits(found, targets, folds, best))
            else:
                values[tap].append((found if reward == 'frequency' else
                                    two_view_agreement(found), None))
    looks = {}
    for tap, pairs in values.items():
        rewards, scores = zip(*pairs)
        looks[tap] = Look(
            list(timesteps), torch.stack(rewards, 2).cpu(),
            None if scores[0] is None else torch.stack(scores, 2).cpu(),
            looked.images, reward, HeldOutFits(
                torch.tensor(timesteps), *map(torch.stack, zip(*fits[tap])))
            if fits[tap] else None,
            torch.tensor(ranks[tap]).double() if ranks[tap] else None)
    return looks


def even_times(last: int, number: int) -> List[int]:
    """The middles of equal ranges of time steps.

    Args:
        last (int): Time steps of the teacher.
        number (int): Ranges, at most.

    Returns:
        list[int]: Ascending.
    """
    number = min(number, last)
    return [(2 * i + 1) * last // (2 * number) for i in range(number)]


def best_of(looks: Dict[str, Look]) -> tuple:
    """The tap and the time step that are worth the most.

    Args:
        looks (dict[str, Look]): By tap.

    Returns:
        tuple[str, int]: Tap and time step.
    """
    tap = max(looks, key=lambda name: float(
        looks[name].smoothed[looks[name].best]))
    return tap, looks[tap].best_t


class HeldOut(NamedTuple):
    """The best of some ridge regressions, by what it says of left-out images.

    Attributes:
        ridge (float): The penalty.
        scale (float): Of its class predictions, see :meth:`Targets.worth`.
        errors (Tensor): The targets minus the held-out predictions,
            (N * V, P, K).
        rewards (Tensor): What they are worth, (N * V,).
    """
    ridge: float
    scale: float
    errors: Tensor
    rewards: Tensor


def held_out(x: Tensor, targets: Targets) -> HeldOut:
    """Read each image by a regression on all others.

    Args:
        x (Tensor): Features of N images in V views at P positions,
            (N, V, P, C).
        targets (Targets): Of the N * V views.

    Returns:
        HeldOut: That of the penalty, and of classes of the scale, which is
        worth the most.
    """
    errors = ridge_residuals(
        x.flatten(1, 2), grouped(targets.values, len(x)), RIDGES,
        grouped(targets.mask, len(x))
    ).view(len(RIDGES), *targets.values.shape)
    is_class, tried = targets.kind == 'class', []
    if is_class:
        # an image left out makes its own class rarer than it is, which would
        # decide where little else does
        errors = errors + (targets.values.mean(0) - targets.values) / \
            (len(x) - 1)
    for ridge, one in zip(RIDGES, errors):
        for scale in SCALES if is_class else (1., ):
            tried.append(HeldOut(ridge, scale, one,
                                 targets.worth(one, scale)))
    means = torch.stack([one.rewards.mean() for one in tried])
    return tried[int(means.argmax())]


def grouped(views: Tensor, images: int) -> Tensor:
    """The rows of all views of an image, (N V, P, ...), as (N, V P, ...)."""
    return views.reshape(images, -1, *views.shape[2:])


def _fits(x: Tensor, targets: Targets, folds: Tensor,
          best: HeldOut) -> tuple:
    """Of each fold, the regression without it: as of HeldOutFits, one t."""
    values, mask = (grouped(one, len(x))
                    for one in (targets.values, targets.mask))
    weights, intercepts = [], []
    for fold in range(FOLDS):
        kept = folds != fold
        weight, intercept = ridge_fit(x.flatten(1, 2), values, best.ridge,
                                      mask & kept[:, None])
        if targets.kind == 'class' and kept.any():  # as in held_out
            intercept = intercept + values.mean((0, 1)) - \
                values[kept].mean((0, 1))
        weights.append(weight.float())
        intercepts.append(intercept.float())
    return torch.stack(weights), torch.stack(intercepts), \
        torch.tensor(best.scale)


def finest_shape(teacher: Any, taps: Sequence[str]) -> Tuple[int, ...]:
    """Shape of the largest map: one grid serves all taps to be compared.

    Args:
        teacher (nn.Module): The teacher.
        taps (Sequence[str]): Some of its taps.

    Returns:
        tuple[int]: (C, h, w) or (C,).
    """
    return max((tuple(teacher.feature_shapes[tap]) for tap in taps),
               key=lambda shape: (len(shape), shape[1:]))


@torch.no_grad()
def features_at(teacher: Any, looked: LookedImages, t: int,
                taps: Sequence[str], read: Callable, batch_size: int = 64,
                device: Any = 'cpu') -> Dict[str, Tensor]:
    """What is read of the features of all views at one time step.

    Args:
        teacher (nn.Module): With its weights.
        looked (LookedImages): N images in V views.
        t (int): The time step.
        taps (Sequence[str]): The taps.
        read (Callable): Makes what is kept of a batch of features.
        batch_size (int): Images at a time. Defaults to 64.
        device (torch.device): The teacher's. Defaults to the CPU.

    Returns:
        dict[str, Tensor]: By tap, (N, V, ...).
    """
    found: dict = {tap: [] for tap in taps}
    images = looked.images.flatten(0, 1)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        batch = images[part].to(device).float()
        features = teacher(
            batch, torch.full((len(batch), ), t, device=device),
            teacher.read_samples(looked.data_samples[part]))
        for tap in taps:
            found[tap].append(read(features[tap]))
    return {tap: _by_image(torch.cat(parts), looked)
            for tap, parts in found.items()}


def _by_image(rows: Tensor, looked: LookedImages) -> Tensor:
    return rows.view(*looked.images.shape[:2], *rows.shape[1:])
