"""Labels that nothing can be learnt from are refused."""
from typing import Any, Sequence

from torch import Tensor

from .mask_ids import mask_ids

UNLABELLED_PIXEL = 255  # mmseg's default; a head may have another


def check_classes(labels: Tensor, num_classes: int, key: str = 'reward',
                  owner: str = '', name: str = 'gt_label',
                  least: int = -1) -> None:
    """Refuse class indices that are no class; those on a GPU pass.

    Args:
        labels (Tensor): Of any shape.
        num_classes (int): As in what reads them.
        key (str): The config key of that, for the error message. Defaults to
            ``'reward'``.
        owner (str): What to call the image, for the error message. Defaults
            to ``''``.
        name (str): What to call the labels. Defaults to ``'gt_label'``.
        least (int): The least of them that is let pass: -1 where it says that
            a sample is unlabelled. Defaults to -1.

    Raises:
        ValueError: If there is another index.
    """
    # a GPU would have to be waited for; there `check_dataset` has looked
    if labels.device.type != 'cpu':
        return
    wrong = labels[(labels < least) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(
            f'`{name}` {"of " + owner + " " if owner else ""}is '
            f'{int(wrong[0])}, but `{key}.num_classes` is {num_classes}: '
            f'expected 0 to {num_classes - 1}' + (
                ', or -1 where the image is unlabelled' if least else ''))


def check_masks(data_samples: Sequence,
                num_classes: int,
                ignore_index: int = UNLABELLED_PIXEL,
                key: str = 'reward') -> None:
    """Refuse masks that hold what is no class, or that are pictures.

    What they hold is not looked at on a GPU.

    Args:
        data_samples (Sequence[SegDataSample]): mmseg's; one without a
            ``gt_sem_seg`` passes.
        num_classes (int): Classes are 0 to ``num_classes`` - 1.
        ignore_index (int): What unlabelled pixels hold. Defaults to 255.
        key (str): The config key of what has these two, for the error
            message.

    Raises:
        ValueError: If there is another id, or a mask has colours. The file
            is named.
    """
    for sample in data_samples:
        if sample.get('gt_sem_seg') is None:
            continue
        mask = sample.gt_sem_seg.data
        if len(mask) != 1 and mask.shape[-1] <= 4:
            raise ValueError(
                f'the mask of {file_of(sample)} is a picture of '
                f'{mask.shape[-1]} channels, (height, width, channels) = '
                f'{tuple(mask.shape)}: the files under `data_prefix.'
                'seg_map_path` of the data set must hold one class id a '
                'pixel, in one channel, (height, width). Convert the colours '
                'to ids once; a PNG with a palette is read as ids by '
                "`LoadAnnotations(imdecode_backend='pillow')`")
        if mask.device.type != 'cpu':  # it would have to be waited for
            continue
        ids = [one for one in mask_ids(mask)
               if one != ignore_index and not 0 <= one < num_classes]
        if ids:
            raise ValueError(
                f'the mask of {file_of(sample)} has the class ids '
                f'{", ".join(map(str, ids))}, but `{key}.num_classes` is '
                f'{num_classes}: expected 0 to {num_classes - 1}, or '
                f'`{key}.ignore_index`, {ignore_index}, where a pixel is '
                'unlabelled' + (
                    f'. If it is FewLabels that puts {UNLABELLED_PIXEL} '
                    f'there, give it `ignore_index={ignore_index}`; if it is '
                    'the padding, give `data_preprocessor` '
                    f'`seg_pad_val={ignore_index}`'
                    if UNLABELLED_PIXEL in ids else ''))


def file_of(sample: Any) -> str:
    """What to call a sample in an error message.

    Args:
        sample (BaseDataElement): Of any library.

    Returns:
        str: The file of its label, or of its image, or else its type.
    """
    path = sample.get('seg_map_path') or sample.get('img_path')
    return repr(path) if path else f'a {type(sample).__name__}'
