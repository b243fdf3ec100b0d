"""What a time sampler draws."""
from typing import NamedTuple

from torch import Tensor


class TimeSample(NamedTuple):
    """Time steps for a batch of N images.

    Attributes:
        timesteps (Tensor): Long, (N,).
        log_prob (Tensor): log pi(t | x) of each, (N,); with gradient if the
            sampler learns.
        entropy (Tensor): Entropy of pi(. | x) in nats, (N,); likewise.
    """
    timesteps: Tensor
    log_prob: Tensor
    entropy: Tensor
