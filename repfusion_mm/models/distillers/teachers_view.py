"""What a teacher made of a batch."""
from typing import Dict, List, NamedTuple, Optional

from torch import Tensor

from ..time_samplers.time_sample import TimeSample


class TeachersView(NamedTuple):
    """A batch as the teacher sees it.

    Attributes:
        images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).
        sample (TimeSample): The time steps.
        told (Tensor, optional): What else the teacher was told of each image.
        ranges (list[dict[str, Tensor]]): z(t) by tap, one for all
            connections or one for each.
    """
    images: Tensor
    sample: TimeSample
    told: Optional[Tensor]
    ranges: List[Dict[str, Tensor]]


class Judged(NamedTuple):
    """What the time steps of a batch were worth.

    Attributes:
        log_probs (Tensor, optional): log pi(. | x), (N, A); None without a
            policy.
        reward (Tensor): (N,).
        mask (Tensor): Bool, (N,): which rewards count.
    """
    log_probs: Optional[Tensor]
    reward: Tensor
    mask: Tensor
