"""Pairs of one image told from pairs of two, in a learnt space."""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count, Positive, Weight
from repfusion_mm.registry import MODELS

from .checks import check_images
from .pooled import pooled
from .unit_vectors import unit_vectors


@MODELS.register_module()
class ContrastiveRepresentationLoss(nn.Module):
    """Contrastive representation distillation with the batch as negatives.

    Student and teacher are embedded linearly and brought to unit length, with
    the inner product g. The critic h = exp(g / temperature) / (exp(g /
    temperature) + (N - 1) / M), M the size of the data set, tells whether the
    two are of one image. Each of the N images is an anchor with N - 1
    negatives: loss = mean over i of -(log h(s_i, t_i) + sum over j != i of
    log(1 - h(s_i, t_j))), plus the same with the teacher's image as anchor.
    Inside one batch both visit the same pairs, so the two are equal.

    The published code draws its negatives, thousands, from a memory of all
    images, and divides exp(g / temperature) by an estimate of its sum over the
    data set, from the first batch. Here the batch is the memory, and h is the
    paper's. The teacher's embedding is trained, too; its feature is not.

    Args:
        channels (int): Of the teacher's feature. Set by the connection.
        dataset_size (int): M, the number of training images.
        embed_dim (int): Width of the embeddings. Defaults to 128.
        temperature (float): Divides g. Defaults to 0.07.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Raises:
        ValueError: If the batch has a single image.

    Source: Tian et al., "Contrastive Representation Distillation", ICLR 2020,
    section 3.1.

    Example:
        >>> loss = dict(type='repfusion_mm.ContrastiveRepresentationLoss',
        ...             dataset_size=50000)
    """

    needs_maps = False
    least_images = 2

    def __init__(self,
                 channels: Count,
                 dataset_size: Count,
                 embed_dim: Count = 128,
                 temperature: Positive = 0.07,
                 loss_weight: Weight = 1.) -> None:
        super().__init__()
        self.student_embedding = nn.Linear(channels, embed_dim)
        self.teacher_embedding = nn.Linear(channels, embed_dim)
        self.dataset_size = dataset_size
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare two features.

        Args:
            student (Tensor): (N, C, H, W) or (N, C), N at least 2.
            teacher (Tensor): As the student's; its gradient is not taken.

        Returns:
            Tensor: Scalar, in float32.
        """
        n = len(student)
        check_images(self, n)
        # linear layers and products would be in low precision
        with torch.autocast(student.device.type, enabled=False):
            student = unit_vectors(self.student_embedding(pooled(student)))
            teacher = unit_vectors(
                self.teacher_embedding(pooled(teacher.detach())))
            similarity = student @ teacher.T
        # h is the sigmoid of this, 1 - h that of its opposite
        odds = similarity / self.temperature - math.log(
            (n - 1) / self.dataset_size)
        sign = 2 * torch.eye(n, device=odds.device) - 1
        # twice: as the student's and as the teacher's anchors
        return self.loss_weight * -2 * F.logsigmoid(sign * odds).sum() / n
