"""A time step is worth what a fit at this very t says of a held-out image."""
import zlib
from typing import Any, Dict, NamedTuple, Optional, Sequence

import torch
from torch import Tensor

from repfusion_mm.registry import MODELS

from ..labels import UNLABELLED_PIXEL, labelled_mask
from ..utils.image_name import image_name
from .base import Judgement, Reward, RewardInputs
from .targets import grid_rows, read_targets

FOLDS = 10


class HeldOutFits(NamedTuple):
    """Ridge regressions at T time steps, each without one of the folds.

    Attributes:
        timesteps (Tensor): Long, (T,).
        weight (Tensor): Of C channels and K targets, (T, FOLDS, C, K).
        intercept (Tensor): (T, FOLDS, K).
        scale (Tensor): Of class predictions, see :meth:`Targets.worth`, (T,).
    """
    timesteps: Tensor
    weight: Tensor
    intercept: Tensor
    scale: Tensor


@MODELS.register_module()
class HeldOutReward(Reward):
    """What a regression at the same t, fitted to other images, predicts.

    Of a class its log-probability, of masks and keypoints minus the squared
    error.

    What :class:`ReinforcedTime` looks at before the training, by the labels,
    is fitted at each of its time steps by itself: ten ridge regressions, each
    without a tenth of the images. An image is read by the one that has not
    seen it, at the time step nearest to its own. Nothing is trained.

    The other rewards read a batch whose images are at different t by one
    classifier or fit, which suits the features in the middle of what is
    drawn: they reward a t for being like the others.

    Classes, masks and keypoints are read as in the look, masks and keypoints
    on a grid of at most 8 x 8 cells. Images are told apart by ``img_path``
    or, in memory, by ``sample_idx``. Those that were not looked at are read
    alike. Unlabelled ones have no reward. It differs little between time
    steps, so that an entropy bonus drowns it: set
    ``time_sampler.entropy_weight`` to 0.

    Args:
        tap (str, optional): The teacher tap that is read. Defaults to the
            first one.
        ignore_index (int): What unlabelled pixels of a mask hold. Defaults to
            255.
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.

    Source: Yang and Wang, ICCV 2023, section 3.2, for the reward; Stone,
    "Cross-Validatory Choice and Assessment of Statistical Predictions",
    Journal of the Royal Statistical Society B 1974.

    Example:
        >>> time_sampler = dict(
        ...     type='repfusion_mm.ReinforcedTime', num_bins=20, look=True,
        ...     entropy_weight=0.)
        >>> reward = dict(type='repfusion_mm.HeldOutReward')
    """
    learns_from_look = True
    timesteps: Tensor
    weight: Tensor
    intercept: Tensor
    scale: Tensor

    def __init__(self,
                 feature_shapes: Dict[str, Sequence[int]],
                 tap: Optional[str] = None,
                 ignore_index: int = UNLABELLED_PIXEL) -> None:
        super().__init__()
        self.tap = tap or next(iter(feature_shapes))
        self.shape = tuple(feature_shapes[self.tap])
        self.ignore_index = ignore_index
        for name in HeldOutFits._fields:  # their sizes are known with a look
            self.register_buffer(name, torch.empty(0))

    def learn_from(self, fits: HeldOutFits) -> None:
        """Take what was fitted to the images that were looked at.

        Args:
            fits (HeldOutFits): On any device.
        """
        for name, value in fits._asdict().items():
            setattr(self, name, value.to(getattr(self, name).device))

    def check_learnt(self) -> None:
        """Make sure that a look was learnt from.

        Raises:
            ValueError: If none was, nor loaded.
        """
        if self.weight.dim() == 1:
            raise ValueError(
                '`reward` HeldOutReward reads z(t) by what a look has found, '
                'and there was none: set `time_sampler.look` to True, and add '
                "dict(type='repfusion_mm.TimeSamplerHook') to `custom_hooks`")

    @torch.no_grad()
    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps behind some features were worth.

        Args:
            inputs (RewardInputs): With data samples of mmpretrain, mmseg or
                mmpose.

        Returns:
            tuple: The reward (N,), the mask (N,) of the labelled samples, and
            no losses.

        Raises:
            ValueError: If it has not learnt from a look, or a label cannot
                be read.
        """
        self.check_learnt()
        samples = inputs.data_samples
        targets = read_targets(
            samples, inputs.images.shape[2:], self.shape, self.ignore_index,
            inputs.timesteps.device, self.intercept.size(2))
        mask = labelled_mask(samples, self.ignore_index)
        rows = grid_rows(inputs.teacher[self.tap], targets.grid)
        nearest = (inputs.timesteps[:, None] -
                   self.timesteps).abs().argmin(1)
        fold = folds_of(samples).to(nearest.device, non_blocking=True)
        predicted = torch.baddbmm(self.intercept[nearest, fold][:, None],
                                  rows, self.weight[nearest, fold])
        reward = targets.worth(targets.values - predicted,
                               self.scale[nearest]).float()
        return torch.where(mask, reward, torch.zeros_like(reward)), mask, {}

    def _load_from_state_dict(self, state_dict: dict, prefix: str,
                              *args: Any) -> None:
        for name in HeldOutFits._fields:
            if prefix + name in state_dict:  # of any size
                found, own = state_dict[prefix + name], getattr(self, name)
                setattr(self, name, found.new_empty(
                    found.shape, device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


def folds_of(data_samples: Sequence[Any]) -> Tensor:
    """The fold of each sample, always the same for an image.

    Args:
        data_samples (Sequence): With an ``img_path`` or a ``sample_idx``.

    Returns:
        Tensor: Long, 0 to FOLDS - 1, (N,).

    Raises:
        ValueError: If one has neither.
    """
    names = [image_name(sample) for sample in data_samples]
    if None in names:
        raise ValueError(
            '`reward` HeldOutReward must know which image a data sample is '
            'of: each must hold an `img_path` or, where the images are in '
            'memory, a `sample_idx`; name it among the `meta_keys` of the '
            'transform that packs the inputs')
    return torch.tensor([zlib.crc32(str(name).encode(errors='replace')) % FOLDS
                         for name in names], dtype=torch.long)
