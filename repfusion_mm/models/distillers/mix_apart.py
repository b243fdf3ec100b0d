"""Mixup and its like for batches of which a part is unlabelled."""
from typing import Any, Callable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from ..labels import labelled_mask, note_labelled


class MixApart:
    """Mixes labelled images with labelled ones, and the others with others.

    mmpretrain makes a score for each class of every label, which it cannot of
    -1, and mixes the scores of any two images of a batch: of a labelled image
    and an unlabelled one nobody knows the mixture's. Kept apart, a labelled
    image stays labelled, and the host knows which are without asking a GPU.
    Where all images are labelled, or none, nothing is different from
    mmpretrain.

    Args:
        augment (Callable, optional): mmpretrain's, of images (N, C, H, W) and
            scores (N, classes). None where there is none, and only the scores
            are wanted (``to_onehot=True``).
    """

    def __init__(self, augment: Optional[Callable]) -> None:
        self.augment: Any = augment
        self._labelled: List[bool] = []

    def __call__(self, inputs: Tensor, scores: Tensor
                 ) -> Tuple[Tensor, Tensor]:
        """Mix a batch, as mmpretrain's ``RandomBatchAugment`` does.

        Args:
            inputs (Tensor): Images, (N, C, H, W).
            scores (Tensor): Of each class, (N, classes).

        Returns:
            tuple: The mixed images and scores.
        """
        if len(set(self._labelled)) < 2:
            return self.augment(inputs, scores)
        mixed_inputs = torch.empty_like(inputs)
        mixed_scores = torch.empty_like(scores, dtype=torch.float)
        for part in (True, False):
            rows = torch.tensor([
                row for row, labelled in enumerate(self._labelled)
                if labelled is part]).to(inputs.device, non_blocking=True)
            mixed_inputs[rows], mixed_scores[rows] = self.augment(
                inputs[rows], scores[rows])
        return mixed_inputs, mixed_scores

    def note(self, samples: Sequence) -> None:
        """Note which samples are labelled, before they go to a GPU.

        Args:
            samples (Sequence): Of a batch; without any labels they pass.
        """
        if _have_labels(samples):
            note_labelled(samples)

    def before(self, preprocessor: Any, args: tuple) -> None:
        """Put labels that scores can be made of in place of missing ones.

        Args:
            preprocessor (nn.Module): That is about to be called.
            args (tuple): What with: a batch, before it is preprocessed.
        """
        samples = args[0].get('data_samples') or []
        scores = [sample.gt_score for sample in samples
                  if 'gt_score' in sample]
        self._labelled = []
        if not (scores or preprocessor.to_onehot) or \
                not _have_labels(samples):
            return
        noted = [sample.get('labelled') for sample in samples]
        self._labelled = labelled_mask(samples).tolist() if None in noted \
            else noted
        for sample, labelled in zip(samples, self._labelled):
            if labelled:
                continue
            if 'gt_label' in sample:
                sample.set_gt_label(torch.zeros_like(sample.gt_label))
            if scores and 'gt_score' not in sample:
                sample.set_gt_score(torch.zeros_like(scores[0]))

    def after(self, preprocessor: nn.Module, args: tuple,
              output: dict) -> None:
        """Say again of the unlabelled images that they are.

        Args:
            preprocessor (nn.Module): That has been called.
            args (tuple): Not used.
            output (dict): What it has made of the batch.
        """
        for sample, labelled in zip(output['data_samples'] or [],
                                    self._labelled):
            if labelled:
                continue
            if 'gt_label' in sample:
                sample.set_gt_label(torch.full_like(sample.gt_label, -1))
            if 'gt_score' in sample:
                sample.set_gt_score(torch.full_like(sample.gt_score, -1))


def _have_labels(samples: Sequence) -> bool:
    return all('gt_label' in sample or 'gt_score' in sample
               for sample in samples)


def mix_apart(preprocessor: Any) -> None:
    """Have mmpretrain's preprocessor take labels of -1.

    Args:
        preprocessor (nn.Module): Of any library; one of another than
            mmpretrain stays as it is.
    """
    if not hasattr(preprocessor, 'to_onehot') or isinstance(
            preprocessor.batch_augments, MixApart):
        return
    apart = MixApart(preprocessor.batch_augments)
    if preprocessor.batch_augments is not None:
        preprocessor.batch_augments = apart
    preprocessor.register_forward_pre_hook(apart.before)
    preprocessor.register_forward_hook(apart.after)
