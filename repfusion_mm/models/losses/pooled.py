"""One vector for each image."""
from torch import Tensor


def pooled(feature: Tensor) -> Tensor:
    """Global average of a map; a vector stays what it is.

    Args:
        feature (Tensor): (N, C, H, W) or (N, C).

    Returns:
        Tensor: (N, C), in float32.
    """
    feature = feature.float()  # first: half precision cannot hold the sum
    return feature.flatten(2).mean(2) if feature.dim() > 2 else feature
