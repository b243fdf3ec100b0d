"""What a time step is worth, without labels."""
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
