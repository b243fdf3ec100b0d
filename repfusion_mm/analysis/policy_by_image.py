"""Which t a policy draws for which image, and what that is worth."""
from typing import Any, Callable, List, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from repfusion_mm.models.labels import labelled_mask

from .studied import StudiedImages

BATCH = 64


def policy_by_image(model: Any, images: StudiedImages, draws: int = 4,
                    device: Any = 'cpu',
                    progress: Callable = iter) -> List[dict]:
    """Have a trained policy draw time steps, and the reward judge them.

    Nothing is learnt, but the reward is computed as in a training step.

    Args:
        model (RepFusion): With a checkpoint's weights, and its teacher's.
        images (StudiedImages): To be drawn for.
        draws (int): Time steps drawn for each image. Defaults to 4.
        device (torch.device): The model's. Defaults to the CPU.
        progress (Callable): Wraps the batches, to show progress.

    Returns:
        list[dict]: Of each image ``label`` (None without a single class),
        ``mean_t``, of the policy's distribution, or of the draws where the
        time sampler has none, ``std_t`` alike, and ``reward``, the mean over
        the draws (None without a reward).
    """
    rows: List[dict] = []
    samples = images.looked.data_samples
    for start in progress(range(0, len(images.inputs), BATCH)):
        inputs = images.inputs[start:start + BATCH].to(device)
        some = [sample.to(device) for sample in samples[start:start + BATCH]]
        drawn, rewards = [], []
        for _ in range(draws):
            view = model.teachers_view(inputs, some)
            drawn.append(view.sample.timesteps.double())
            rewards.append(_reward(model, view, inputs, some))
        mean, std = _moments(model, view.images, torch.stack(drawn))
        worth = None if rewards[0] is None else \
            torch.stack(rewards).mean(0)  # type: ignore[arg-type]
        for index, sample in enumerate(some):
            reward = None if worth is None else float(worth[index])
            rows.append(dict(
                label=_label(sample), mean_t=float(mean[index]),
                std_t=float(std[index]),
                reward=reward if reward == reward else None))
    return rows


def by_class(rows: Sequence[dict], names: Sequence[str] = ()) -> List[dict]:
    """Means over the images of each class.

    Args:
        rows (Sequence[dict]): Of :func:`policy_by_image`.
        names (Sequence[str]): Of the classes.

    Returns:
        list[dict]: ``class``, ``images``, and ``mean_t`` and ``reward`` with
        their standard errors over the images, ``t_error`` and
        ``reward_error``; all images, as ``'all'``, are the last.
    """
    labels = sorted({row['label'] for row in rows
                     if row['label'] is not None})
    groups = [(names[label] if label < len(names) else str(label),
               [row for row in rows if row['label'] == label])
              for label in labels] + [('all', list(rows))]
    found = []
    for name, group in groups:
        one = {'class': name, 'images': len(group)}
        for key, error in (('mean_t', 't_error'), ('reward', 'reward_error')):
            values = [row[key] for row in group if row[key] is not None]
            one[key] = float(np.mean(values)) if values else None
            one[error] = float(np.std(values, ddof=1) / len(values)**0.5) \
                if len(values) > 1 else None
        found.append(one)
    return found


def _reward(model: Any, view: Any, inputs: Tensor,
            samples: List[Any]) -> Optional[Tensor]:
    """What the time steps of a view were worth, NaN without a label."""
    if model.reward is None:
        return None
    _, student = model.student_features(model.backbone, inputs)
    model.policy_losses(view, student, samples,
                        model.feature_losses(view, student))
    judged = model.judged
    return judged.reward.double().masked_fill(~judged.mask, float('nan'))


@torch.no_grad()
def _moments(model: Any, images: Tensor, drawn: Tensor) -> tuple:
    """Mean and standard deviation of t, (N,) each."""
    sampler = model.time_sampler
    if not hasattr(sampler, 'distribution'):
        return drawn.mean(0), drawn.std(0, correction=0)
    probs = sampler.distribution(images).probs.double()
    centres = torch.arange(probs.size(1)).to(probs) * \
        sampler.bin_width + (sampler.bin_width - 1) / 2
    mean = probs @ centres
    return mean, ((centres - mean[:, None]).square() * probs).sum(1).sqrt()


def _label(sample: Any) -> Optional[int]:
    label = sample.get('gt_label')
    if label is None or label.numel() != 1 or \
            not bool(labelled_mask([sample])[0]):
        return None
    return int(label)
