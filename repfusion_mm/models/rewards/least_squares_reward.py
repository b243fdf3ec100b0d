"""A time step is worth what a least-squares fit reads from z(t)."""
from typing import Dict, Optional, Sequence

import torch

from repfusion_mm.arguments.annotations import Positive
from repfusion_mm.registry import MODELS

from ..labels import class_labels
from ..losses.pooled import pooled
from ..utils.ridge import ridge_residuals
from .base import ClassReward, Judgement, RewardInputs


@MODELS.register_module()
class LeastSquaresReward(ClassReward):
    """Minus the squared error of a ridge regression from z(t) to the label.

    In each batch the one-hot labels are fitted by the globally pooled tap of
    the labelled samples. Nothing is trained, so the reward means the same in
    the first step and in the last. Of several processes each fits its own
    batch.

    An image's error is that of the fit to all others (leave one out), found
    in closed form by :func:`ridge_residuals`. The published reward takes the
    residual of the fit to all, which is close to 0 for every t if there are
    fewer labelled images in the batch than channels.

    The intercept is not penalised: features and labels are centred. The
    centred features are divided by the root mean square of their norms, so
    that ``ridge`` means the same for every teacher, tap and batch size.

    Args:
        num_classes (int): Number of classes, at least 2.
        tap (str, optional): The teacher tap that is read. Defaults to the
            first one.
        ridge (float): Weight of the squared coefficients against the mean
            squared error, above 0. Defaults to 0.01.
        leave_one_out (bool): Whether an image is kept out of the fit that
            predicts it. Defaults to True; False is the published reward.
        feature_shapes (dict[str, Sequence[int]]): Shape of each teacher
            feature without the batch. Set by the model.

    Raises:
        ValueError: If there are too few classes, or ``ridge`` is not
            positive.

    Source: Yang and Wang, ICCV 2023, its published code; for leaving one out,
    Allen, "The Relationship between Variable Selection and Data Augmentation
    and a Method for Prediction", Technometrics 1974.

    Example:
        >>> reward = dict(type='repfusion_mm.LeastSquaresReward',
        ...               num_classes=10)
    """
    def __init__(self,
                 num_classes: int,
                 feature_shapes: Dict[str, Sequence[int]],
                 tap: Optional[str] = None,
                 ridge: Positive = 0.01,
                 leave_one_out: bool = True) -> None:
        super().__init__(num_classes)
        self.tap = tap or next(iter(feature_shapes))
        self.ridge = ridge
        self.leave_one_out = leave_one_out

    @torch.no_grad()
    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps behind some features were worth.

        Args:
            inputs (RewardInputs): With data samples of mmpretrain that have
                a ``gt_label``.

        Returns:
            tuple: The reward (N,), the mask (N,) of the labelled samples (of
            none if the batch has fewer than 3, or 2 in the published form),
            and no losses.

        Raises:
            ValueError: If a sample's label is missing or, on a CPU, no class.
        """
        labels = class_labels(inputs.data_samples, self.num_classes)
        mask = labels >= 0
        count = mask.sum()
        classes = torch.arange(self.num_classes, device=labels.device)
        hot = labels[:, None] == classes
        errors = ridge_residuals(
            pooled(inputs.teacher[self.tap])[:, None], hot[:, None],
            [self.ridge], mask[:, None], self.leave_one_out)[0, :, 0]
        mask = mask & (count >= (3 if self.leave_one_out else 2))
        reward = -errors.square().sum(1).float()
        return torch.where(mask, reward, torch.zeros_like(reward)), mask, {}
