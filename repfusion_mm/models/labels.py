"""Which samples of a batch are labelled, and how."""
from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

UNLABELLED_PIXEL = 255

# what packs the labels of each library's data samples
NO_MASK = ('each data sample must hold a `gt_sem_seg` (nothing but 255 where '
           'the image is unlabelled): put `LoadAnnotations` before '
           '`PackSegInputs` in the pipeline of mmseg')
NO_VISIBILITY = (
    'each data sample must hold `gt_instance_labels.keypoint_weights` or '
    '`gt_instances.keypoints_visible` (all zero where the image is '
    'unlabelled): put `GenerateTarget` before `PackPoseInputs` in the '
    'pipeline of mmpose')
NO_KEYPOINTS = (
    'each data sample must hold `gt_instances.transformed_keypoints`, in '
    'pixels of the input image: write `PackPoseInputs` with '
    '`pack_transformed=True` in the pipeline of mmpose. In one without '
    '`TopdownAffine`, whose transforms change `keypoints` itself, also put '
    "dict(type='KeyMapper', mapping=dict(transformed_keypoints='keypoints'), "
    "remapping=dict(transformed_keypoints='transformed_keypoints')) before it")


def class_labels(data_samples: Sequence,
                 num_classes: Optional[int] = None) -> Tensor:
    """Class index of each sample, -1 where it is unlabelled.

    Args:
        data_samples (Sequence[DataSample]): mmpretrain's data samples, each
            with a ``gt_label`` of one element.
        num_classes (int, optional): Of the reward that reads the labels: on a
            CPU, labels beyond it are refused. Defaults to None.

    Returns:
        Tensor: Long, (N,).

    Raises:
        ValueError: If a sample has no ``gt_label``, or more than one, or one
            that is no class.
    """
    for sample in data_samples:
        label = sample.get('gt_label')
        if label is None or label.numel() != 1:
            raise ValueError(
                'each data sample must hold one `gt_label` (-1 where the '
                f'image is unlabelled), got {label}; for images without '
                'labels wrap the data set in repfusion_mm.FewLabels')
    labels = torch.cat([sample.gt_label for sample in data_samples])
    if num_classes is not None:
        _check_range(labels, num_classes)
    return labels


def multi_hot_labels(data_samples: Sequence,
                     num_classes: int) -> Tuple[Tensor, Tensor]:
    """Whether each class applies to each sample, for multi-label tasks.

    Args:
        data_samples (Sequence[DataSample]): mmpretrain's, each with a
            ``gt_score`` of one number from 0 to 1 for each class, or with a
            ``gt_label`` of all classes that apply, maybe none. Where both are
            there the scores count, as in mmpretrain's heads. Unlabelled as
            for :func:`labelled_mask`.
        num_classes (int): Number of classes.

    Returns:
        tuple: The labels, float32, (N, num_classes), zero where a sample is
        unlabelled, and the mask (N,) of the labelled ones.

    Raises:
        ValueError: If a sample has neither, scores of another length, or, on
            a CPU, a label that is no class.
    """
    indices, rows, scores, score_rows = _read(data_samples)
    _check_range(indices, num_classes)
    hits = indices[:, None] == torch.arange(num_classes, device=rows.device)
    hot = torch.zeros(len(data_samples), num_classes, device=rows.device)
    hot = hot.index_add(0, rows, hits.float()).clamp(max=1)
    for score in scores:
        if len(score) != num_classes:
            raise ValueError(
                f'`gt_score` has {len(score)} elements, but '
                f'`reward.num_classes` is {num_classes}')
    if scores:
        hot = hot.index_copy(0, score_rows, torch.stack(scores).float())
    mask = labelled_mask(data_samples)
    return hot * mask[:, None], mask


def semantic_masks(data_samples: Sequence,
                   num_classes: Optional[int] = None,
                   ignore_index: int = UNLABELLED_PIXEL) -> Tensor:
    """Class index of each pixel of each sample.

    Args:
        data_samples (Sequence[SegDataSample]): mmseg's, each with a
            ``gt_sem_seg`` of (1, H, W).
        num_classes (int, optional): Of the reward that reads the masks: on a
            CPU, pixels of classes beyond it are refused. Defaults to None.
        ignore_index (int): What unlabelled pixels hold. Defaults to 255.

    Returns:
        Tensor: Long, (N, H, W).

    Raises:
        ValueError: If a sample has no ``gt_sem_seg``, if they differ in size,
            or if one holds what is no class.
    """
    masks = []
    for sample in data_samples:
        mask = sample.get('gt_sem_seg')
        if mask is None:
            raise ValueError(f'{NO_MASK}; {_file(sample)} has none')
        masks.append(mask.data)
    sizes = {tuple(mask.shape) for mask in masks}
    if len(sizes) > 1 or next(iter(sizes))[0] != 1:
        raise ValueError(
            'the `gt_sem_seg` of a batch must all be of one shape (1, H, W), '
            f'got {sorted(sizes)}; `size` or `size_divisor` of '
            'mmseg.SegDataPreProcessor pads images and masks alike')
    masks = torch.cat(masks).long()
    if num_classes is not None:
        check_masks(data_samples, num_classes, ignore_index)
    return masks


def check_masks(data_samples: Sequence,
                num_classes: int,
                ignore_index: int = UNLABELLED_PIXEL,
                key: str = 'reward') -> None:
    """Refuse masks that hold what is no class; those on a GPU pass.

    Args:
        data_samples (Sequence[SegDataSample]): mmseg's; one without a
            ``gt_sem_seg`` passes.
        num_classes (int): Classes are 0 to ``num_classes`` - 1.
        ignore_index (int): What unlabelled pixels hold. Defaults to 255.
        key (str): The config key of what has these two, for the error
            message.

    Raises:
        ValueError: If there is another id. The file and the id are named.
    """
    for sample in data_samples:
        if sample.get('gt_sem_seg') is None:
            continue
        mask = sample.gt_sem_seg.data
        if mask.device.type != 'cpu':  # it would have to be waited for
            return
        mask = mask.long()
        wrong = (mask != ignore_index) & ((mask < 0) | (mask >= num_classes))
        if wrong.any():
            ids = ', '.join(map(str, mask[wrong].unique().tolist()))
            raise ValueError(
                f'the mask of {_file(sample)} has the class ids {ids}, but '
                f'`{key}.num_classes` is {num_classes}: expected 0 to '
                f'{num_classes - 1}, or `{key}.ignore_index`, {ignore_index},'
                ' where a pixel is unlabelled')


def visible_keypoints(data_samples: Sequence,
                      num_keypoints: int) -> Tuple[Tensor, Tensor]:
    """Keypoints of each instance of each sample.

    Args:
        data_samples (Sequence[PoseDataSample]): mmpose's, each with
            ``gt_instances.transformed_keypoints`` of (instances, K, 2 or 3)
            and a visibility of each, ``gt_instances.keypoints_visible`` or
            ``gt_instance_labels.keypoint_weights``.
        num_keypoints (int): K of the reward that reads them.

    Returns:
        tuple: The keypoints (x, y) in pixels of the input image, float32,
        (N, M, K, 2) for at most M instances an image, and whether each is
        visible, bool, (N, M, K), which it is not where an image has fewer.

    Raises:
        ValueError: If a sample lacks one of them, or has another number of
            keypoints.
    """
    keypoints, visible = [], []
    for sample in data_samples:
        points = sample.get('gt_instances', {}).get('transformed_keypoints')
        if points is None:
            raise ValueError(f'{NO_KEYPOINTS}; {_file(sample)} has none')
        if points.shape[1] != num_keypoints:
            raise ValueError(
                f'{_file(sample)} has {points.shape[1]} keypoints, but '
                f'`reward.num_keypoints` is {num_keypoints}')
        seen = _keypoints_visible(sample)
        if seen is None:
            seen = _keypoint_weights(sample)
        if seen is None:
            raise ValueError(f'{NO_VISIBILITY}; {_file(sample)} has neither')
        keypoints.append(torch.as_tensor(points[..., :2]).float())
        visible.append(seen > 0)
    return (pad_sequence(keypoints, batch_first=True),
            pad_sequence(visible, batch_first=True))


def labelled_mask(data_samples: Sequence) -> Tensor:
    """Whether each sample is labelled.

    One of mmpretrain is not where its ``gt_label`` is -1, whatever its
    ``gt_score``, or where its ``gt_score`` has a negative element. An empty
    ``gt_label`` is a label: it says that none of the classes applies. One of
    mmseg is not where its mask is nothing but 255, and one of mmpose not
    where its keypoint weights are all zero, or, where the codec makes none,
    the visibility of its keypoints.

    Args:
        data_samples (Sequence): mmpretrain's, each with a ``gt_label`` of any
            length, a ``gt_score``, or both; mmseg's, with a ``gt_sem_seg``;
            or mmpose's, with ``gt_instance_labels.keypoint_weights`` or
            ``gt_instances.keypoints_visible``.

    Returns:
        Tensor: Bool, (N,).

    Raises:
        ValueError: If a sample has none of them.
    """
    marks = [_dense_mark(sample) for sample in data_samples]
    rest = [sample for sample, mark in zip(data_samples, marks)
            if mark is None]
    if rest:
        of_classes = iter(_class_mask(rest))
        marks = [next(of_classes) if mark is None else mark for mark in marks]
    # visibilities stay in the host's memory, where weights go to the GPU
    device = max((mark.device for mark in marks),
                 key=lambda device: device.type != 'cpu')
    return torch.stack([mark.to(device, non_blocking=True) for mark in marks])


def _dense_mark(sample: Any) -> Optional[Tensor]:
    """Whether a sample of mmseg or mmpose is labelled, bool, ().

    Returns:
        Tensor, optional: None for a sample of another library.

    Raises:
        ValueError: If it has no label that could tell.
    """
    mask = sample.get('gt_sem_seg')
    if mask is not None:
        return (mask.data != UNLABELLED_PIXEL).any()
    weights = _keypoint_weights(sample)
    if weights is None:
        weights = _keypoints_visible(sample)
    if weights is not None:
        return (weights != 0).any()
    missing = dict(SegDataSample=NO_MASK, PoseDataSample=NO_VISIBILITY)
    if type(sample).__name__ in missing:
        raise ValueError(f'{missing[type(sample).__name__]}; {_file(sample)} '
                         'has none')
    return None


def _keypoint_weights(sample: Any) -> Optional[Tensor]:
    """Of mmpose's sample, (instances, K), if its codec makes them."""
    return sample.get('gt_instance_labels', {}).get('keypoint_weights')


def _keypoints_visible(sample: Any) -> Optional[Tensor]:
    """Of mmpose's sample, (instances, K), if it has any.

    It is packed as an array. Without `GenerateTarget`, KeypointConverter's
    has weights behind it, (instances, K, 2).
    """
    visible = sample.get('gt_instances', {}).get('keypoints_visible')
    if visible is None:
        return None
    return torch.as_tensor(visible if visible.ndim < 3 else visible[..., 0])


def _file(sample: Any) -> str:
    """What to call a sample in an error message."""
    path = sample.get('seg_map_path') or sample.get('img_path')
    return repr(path) if path else f'a {type(sample).__name__}'


def _class_mask(data_samples: Sequence) -> Tensor:
    """:func:`labelled_mask` of mmpretrain's samples."""
    indices, rows, scores, score_rows = _read(data_samples)
    negative = torch.zeros(len(data_samples), device=rows.device)
    negative = negative.index_add(0, rows, (indices < 0).float())
    if scores:
        negative = negative.index_add(
            0, score_rows, (torch.stack(scores) < 0).any(1).float())
    return negative == 0


def _read(data_samples: Sequence
          ) -> Tuple[Tensor, Tensor, List[Tensor], Tensor]:
    """All class indices and scores of a batch, and whose they are.

    Returns:
        tuple: Class indices (M,), the sample (M,) of each, the score vectors
        (S of them) and the sample (S,) of each.
    """
    labels, rows, scores, score_rows = [], [], [], []
    for row, sample in enumerate(data_samples):
        label, score = sample.get('gt_label'), sample.get('gt_score')
        if label is None and score is None:
            raise ValueError(
                'each data sample must hold a `gt_label` (-1 where the image '
                'is unlabelled) or a `gt_score`, got neither; for images '
                'without labels wrap the data set in repfusion_mm.FewLabels')
        if label is not None:
            labels.append(label)
            rows += [row] * label.numel()
        if score is not None:
            scores.append(score)
            score_rows.append(row)
    device = (labels + scores)[0].device
    # non_blocking: a GPU need not be waited for to be told who owns what
    rows, score_rows = (
        torch.tensor(owners, dtype=torch.long).to(device, non_blocking=True)
        for owners in (rows, score_rows))
    indices = torch.cat(labels) if labels else rows
    return indices, rows, scores, score_rows


def _check_range(labels: Tensor, num_classes: int) -> None:
    # a GPU would have to be waited for; there `check_dataset` has looked
    if labels.device.type != 'cpu':
        return
    wrong = labels[(labels < -1) | (labels >= num_classes)]
    if len(wrong):
        raise ValueError(
            f'`gt_label` is {int(wrong[0])}, but `reward.num_classes` is '
            f'{num_classes}: expected 0 to {num_classes - 1}, or -1 where the '
            'image is unlabelled')
