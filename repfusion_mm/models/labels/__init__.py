"""The labels of a batch, whichever library its data samples are of.

A file for each library, one for what all of them share, and the checks.
"""
from .checks import UNLABELLED_PIXEL, check_masks
from .labelled import any_label, labelled_mask, note_labelled
from .mmpose import visible_keypoints
from .mmpretrain import class_labels, multi_hot_labels
from .mmseg import semantic_masks

__all__ = ['UNLABELLED_PIXEL', 'any_label', 'check_masks', 'class_labels',
           'labelled_mask', 'multi_hot_labels', 'note_labelled',
           'semantic_masks', 'visible_keypoints']
