"""What a time sampler draws."""
from typing import NamedTuple, Optional

from torch import Tensor


class TimeSample(NamedTuple):
    """Time steps for a batch of N images.

    Attributes:
        timesteps (Tensor): Long, (N,); or (K, N) where each of K connections
            has a time step of its own.
        log_prob (Tensor): log pi(t | x) of each, alike; with gradient if the
            sampler learns.
        entropy (Tensor): Entropy of pi(. | x) in nats; likewise.
        log_probs (Tensor, optional): log pi(. | x) of all choices, (N, A),
            without gradient; None of a sampler without a policy.
    """
    timesteps: Tensor
    log_prob: Tensor
    entropy: Tensor
    log_probs: Optional[Tensor] = None
