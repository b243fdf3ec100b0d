"""Further time steps for the images that have a reward."""
from functools import partial
from typing import Any, Dict, Optional, Sequence

import torch
from torch import Tensor

from ..rewards.base import RewardInputs
from .teachers_view import TeachersView


def loss_of_draws(model: Any, view: TeachersView,
                  student: Dict[str, Tensor], data_samples: Sequence,
                  reward: Tensor, mask: Tensor,
                  losses: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Draw ``num_draws`` time steps for each rewarded image, and learn.

    The student is taught by the first alone; the teacher looks at the
    rewarded images once more for each of the others. What the reward trains
    is trained by all of them. Which images are rewarded is waited for on a
    GPU.

    Args:
        model (Distiller): Its ``time_sampler`` has ``num_draws`` above 1.
        view (TeachersView): The first draw, of N images.
        student (dict[str, Tensor]): The student's features, by tap.
        data_samples (Sequence): The labels.
        reward (Tensor): Of the first draw, (N,).
        mask (Tensor): Bool, (N,): which rewards count.
        losses (dict[str, Tensor]): Of the reward, averaged over the draws
            here.

    Returns:
        dict[str, Tensor]: The time sampler's losses.
    """
    sampler = model.time_sampler
    # of all processes each must ask the reward equally often, and some
    # rewards tell two images apart
    shown = mask.clone()
    shown[:2] |= mask.sum() < 2
    chosen = shown.nonzero()[:, 0]
    own = {tap: feature[chosen] for tap, feature in student.items()}
    told = None if view.told is None else \
        view.told[chosen.to(view.told.device)]
    samples = [data_samples[i] for i in chosen.tolist()]
    rewards, counts = [reward[chosen]], [mask[chosen]]
    log_probs = [view.sample.log_prob[chosen]]
    for _ in range(sampler.num_draws - 1):
        images = view.images[chosen]
        sample = sampler(images)
        teacher = model.teacher(images, sample.timesteps, told)
        judged, count, more = model.reward(RewardInputs(
            images, sample.timesteps, teacher, own, samples,
            sum(connection(own[connection.student_tap],
                           teacher[connection.teacher_tap])
                for connection in model.connections),
            look=partial(_look, model.teacher, sample.timesteps, told)))
        rewards.append(judged)
        counts.append(count)
        log_probs.append(sample.log_prob)
        for name, loss in more.items():
            losses[name] = losses[name] + loss
    for name in more:
        losses[name] = losses[name] / sampler.num_draws
    return sampler.loss_of_draws(
        view.sample, torch.stack(log_probs), torch.stack(rewards),
        torch.stack(counts).all(0))


def _look(teacher: Any, timesteps: Tensor, told: Optional[Tensor],
          images: Tensor) -> Dict[str, Tensor]:
    return teacher(images, timesteps, told)
