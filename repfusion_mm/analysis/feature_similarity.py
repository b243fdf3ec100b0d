"""How alike several networks, taps and time steps see the same images."""
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from repfusion_mm.models.losses.cka_loss import CKALoss, linear_cka
from repfusion_mm.models.losses.pooled import pooled
from repfusion_mm.models.utils.taps import Taps
from repfusion_mm.registry import MODELS

from .look import features_at
from .looked_images import LookedImages
from .studied import BATCH


class Similarity(NamedTuple):
    """Linear CKA of all pairs of K features.

    Attributes:
        names (list[str]): Of the features.
        images (int): In each draw.
        cka (np.ndarray): Mean over the draws, 0 to 1, (K, K).
        std (np.ndarray, optional): Over the draws, alike; None of one draw.
        chance (float): What it is, on average, of features of images that
            have nothing to do with each other: CKA of few images is high,
            whatever the features.
    """
    names: list
    images: int
    cka: np.ndarray
    std: Optional[np.ndarray]
    chance: float

    def record(self) -> dict:
        """It in numbers, for a file.

        Returns:
            dict: Its attributes.
        """
        return dict(self._asdict(), cka=self.cka.tolist(),
                    std=None if self.std is None else self.std.tolist())


def similarity(features: Dict[str, Tensor], draws: int = 3) -> Similarity:
    """Compare features of the same images.

    Args:
        features (dict[str, Tensor]): Pooled, of N images in random order,
            (N, C) of any C, by name.
        draws (int): The images are dealt into so many parts that share none.
            Defaults to 3.

    Returns:
        Similarity: Of all pairs.

    Raises:
        ValueError: If a part has too few images.

    Source: Kornblith et al., "Similarity of Neural Network Representations
    Revisited", ICML 2019, section 3.
    """
    names, rows = list(features), [one.double().cpu()
                                   for one in features.values()]
    count = len(rows[0]) // draws
    if count < CKALoss.least_images:
        raise ValueError(
            f'{len(rows[0])} images are too few for {draws} draws of at '
            f'least {CKALoss.least_images}')
    found, chances = [], []
    for draw in range(draws):
        part = [one[draw * count:(draw + 1) * count] for one in rows]
        cka = np.eye(len(part))
        for i, one in enumerate(part):
            for j in range(i):
                cka[i, j] = cka[j, i] = float(linear_cka(one, part[j]))
            # rolled: no image stays beside itself
            chances.append(float(linear_cka(
                one, part[(i + 1) % len(part)].roll(count // 2, 0))))
        found.append(cka)
    return Similarity(
        names, count, np.mean(found, 0),
        np.std(found, 0, ddof=1) if draws > 1 else None,
        float(np.mean(chances)))


def teacher_features(teacher: Any, looked: LookedImages,
                     timesteps: Sequence[int], device: Any = 'cpu',
                     progress: Callable = iter) -> Dict[str, Tensor]:
    """Pooled features at all taps of a teacher.

    Args:
        teacher (nn.Module): With its weights.
        looked (LookedImages): One view of each image.
        timesteps (Sequence[int]): The time steps.
        device (torch.device): The teacher's. Defaults to the CPU.
        progress (Callable): Wraps the time steps, to show progress.

    Returns:
        dict[str, Tensor]: (N, C) by tap and t, such as
        ``'mid_block t=100'``, tap by tap.
    """
    taps = list(teacher.feature_shapes)
    found = {t: features_at(teacher, looked, t, taps, pooled, device=device)
             for t in progress(timesteps)}
    return {f'{tap} t={t}': found[t][tap][:, 0].cpu()
            for tap in taps for t in timesteps}


@torch.no_grad()
def student_features(backbone: Any, inputs: Tensor, taps: Sequence[str],
                     device: Any = 'cpu',
                     read: Callable[[Tensor], Tensor] = pooled
                     ) -> Dict[str, Tensor]:
    """Features at some layers of a backbone.

    Args:
        backbone (nn.Module): Not training.
        inputs (Tensor): Preprocessed images, (N, C, H, W).
        taps (Sequence[str]): Module paths in it.
        device (torch.device): The backbone's. Defaults to the CPU.
        read (Callable): Makes what is kept of a batch of features. Defaults
            to their average over all positions.

    Returns:
        dict[str, Tensor]: By tap, of N images.

    Raises:
        ValueError: If a tap does not exist; the nearest are named.
    """
    found = Taps(backbone, taps, inputs[:2].to(device), key='--student-taps')
    parts = [found.forward(backbone, batch.to(device))[1]
             for batch in inputs.split(BATCH)]
    return {tap: torch.cat([read(part[tap]).cpu() for part in parts])
            for tap in taps}


def classifier_features(config: str, checkpoint: Optional[str],
                        taps: Sequence[str], looked: LookedImages,
                        channel_order: str = 'rgb',
                        device: Any = 'cpu') -> Dict[str, Tensor]:
    """Pooled features of any classifier of mmpretrain.

    Args:
        config (str): Its config file.
        checkpoint (str, optional): Its weights; None leaves them random.
        taps (Sequence[str]): Module paths in it, such as
            ``'backbone.layer4'``.
        looked (LookedImages): One view of each image.
        channel_order (str): That it was trained on. Defaults to ``'rgb'``.
        device (torch.device): For it. Defaults to the CPU.

    Returns:
        dict[str, Tensor]: (N, C) by tap.
    """
    classifier = MODELS.build(dict(
        type='repfusion_mm.ClassifierTeacher', model=config,
        checkpoint=checkpoint, taps=list(taps), channel_order=channel_order,
        image_size=tuple(looked.images.shape[3:])))
    classifier.init_weights()
    found = features_at(classifier.to(device), looked, 0, list(taps), pooled,
                        device=device)
    return {tap: rows[:, 0].cpu() for tap, rows in found.items()}
