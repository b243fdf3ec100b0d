"""What features are worth, without labels."""
import torch
import torch.nn.functional as F
from torch import Tensor


def two_view_agreement(features: Tensor, temperature: float = 0.1) -> Tensor:
    """Log-probability of finding an image's other view among all images.

    InfoNCE with channels standardised and nothing trained, as the
    :class:`ContrastiveReward` starts from.

    Args:
        features (Tensor): Pooled, of N images in V views, at one time step,
            (N, V, C).
        temperature (float): Divides the cosine similarities. Defaults to 0.1.

    Returns:
        Tensor: In nats, at most 0, (N, V): each view is looked for by the
        one before it.
    """
    flat = features.flatten(0, 1).double()
    flat = (flat - flat.mean(0)) / flat.std(0).clamp(min=1e-6)
    views = F.normalize(flat, dim=1).view_as(features).transpose(0, 1)
    similarity = views @ views.roll(-1, 0).transpose(1, 2) / temperature
    return similarity.log_softmax(2).diagonal(dim1=1, dim2=2).T


def high_frequency_ratio(maps: Tensor) -> Tensor:
    """Share of a feature map's energy that lies above half the Nyquist rate.

    Args:
        maps (Tensor): (M, C, h, w).

    Returns:
        Tensor: 0 to 1, (M,).

    Source: Liu et al., "A-SelecT: Automatic Timestep Selection for Diffusion
    Transformer Representation Learning", arXiv 2603.25758, 2026.
    """
    energy = torch.fft.fft2(maps.float()).abs().square().sum(1)
    height, width = (torch.fft.fftfreq(side, device=maps.device)
                     for side in maps.shape[2:])
    high = height[:, None].square() + width.square() > 0.25**2
    return ((energy * high).sum((1, 2)) /
            energy.sum((1, 2)).clamp(min=1e-30)).double()


def effective_rank(features: Tensor) -> float:
    """How many directions the features use: RankMe.

    The exponential of the entropy of the singular values' shares. Features
    that have collapsed onto a line have 1, those that use C directions alike
    C (or N, if there are fewer).

    Args:
        features (Tensor): (N, C).

    Returns:
        float: From 1 to the lesser of N and C; 0 of features that are zero.

    Source: Garrido et al., "RankMe: Assessing the Downstream Performance of
    Pretrained Self-Supervised Representations by Their Rank", ICML 2023,
    equation 2.
    """
    return rank_of(torch.linalg.svdvals(features.double()))


def rank_of(values: Tensor) -> float:
    """The effective rank of a matrix with these singular values.

    Args:
        values (Tensor): At least 0, float64, (min(N, C),).

    Returns:
        float: As of :func:`effective_rank`.
    """
    shares = values / values.sum().clamp(min=1e-300)
    return float(torch.special.entr(shares).sum().exp()) \
        if values.any() else 0.
