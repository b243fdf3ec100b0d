"""The losses of a joint model's task, on its labelled samples."""
from contextlib import ExitStack
from typing import Any, Dict, List, Sequence

import torch
from mmengine.dist import get_world_size, is_distributed
from torch import Tensor, nn

from ..labels import any_label, check_masks, labelled_mask
from ..labels.checks import check_classes, file_of
from ..labels.mmdet import check_boxes
from ..utils.all_processes import sum_of_all
from .kept_buffers import kept_buffers
from .labelled_rows import heads_see_batch, only_rows, replaced, take_rows
from .task_heads import box_classes_of, ignore_index_of, mask_classes_of


def task_losses(task: nn.Module, inputs: Tensor, features: Any,
                data_samples: List) -> Dict[str, Tensor]:
    """The task's own losses, what they would be of its labelled samples.

    Args:
        task (nn.Module): Of any library.
        inputs (Tensor): Preprocessed images, (N, C, H, W).
        features (Any): What its ``extract_feat`` has made of them.
        data_samples (list): Their labels, where there are any.

    Returns:
        dict[str, Tensor]: Empty where none is labelled; of several processes
        all have the same names then, times zero.
    """
    ignore_index = ignore_index_of(task)
    labelled = [sample.get('labelled') for sample in data_samples]
    if None in labelled:  # `check_samples` was not asked
        labelled = labelled_mask(data_samples, ignore_index).tolist()
    if not any(labelled) and not is_distributed():
        return {}
    # a labelled image counts alike on whichever process it is: 1 on one
    count = torch.tensor(sum(labelled)).to(inputs.device, non_blocking=True)
    total, = sum_of_all(count)
    weight = count * get_world_size() / total.clamp(min=1)
    if any(labelled):
        losses = _labelled_losses(task, inputs, features, data_samples,
                                  labelled)
    else:
        losses = _empty_losses(task, inputs, features, data_samples, total)
    return {name: _weighted(loss, weight) if 'loss' in name else loss
            for name, loss in losses.items()}


def check_task_labels(task: nn.Module, data_samples: Sequence) -> None:
    """Refuse masks, boxes or labels of no class.

    Args:
        task (nn.Module): Of any library; one of neither kind passes.
        data_samples (Sequence): Of a batch; those on a GPU pass.

    Raises:
        ValueError: If one does. The file and the ids are named.
    """
    num_classes = mask_classes_of(task)
    if num_classes is not None:
        check_masks(data_samples, num_classes, ignore_index_of(task),
                    key='task.decode_head')
    for key, number in box_classes_of(task).items():
        for sample in data_samples:
            check_boxes(sample, number, f'task.{key}')
    num_classes = getattr(getattr(task, 'head', None), 'num_classes', None)
    if not isinstance(num_classes, int):
        return
    for sample in data_samples:
        if sample.get('gt_label') is not None:
            check_classes(sample.gt_label, num_classes, 'task.head',
                          file_of(sample))


def _labelled_losses(task: Any, inputs: Tensor, features: Any,
                     data_samples: List,
                     labelled: List[bool]) -> Dict[str, Tensor]:
    """Of a batch with some labels, what the labelled images have."""
    with ExitStack() as stack:
        if not all(labelled):
            # a list would be copied to a GPU that has to be waited for
            rows = torch.tensor([row for row, one in enumerate(labelled)
                                 if one]).to(inputs.device, non_blocking=True)
            some = [sample for sample, one in zip(data_samples, labelled)
                    if one]
            if heads_see_batch(task):
                stack.enter_context(only_rows(task, data_samples, some, rows))
            else:
                data_samples, inputs = some, inputs[rows]
                features = take_rows(features, rows)
        return _losses_of(task, inputs, features, data_samples)


def _empty_losses(task: Any, inputs: Tensor, features: Any,
                  data_samples: List, total: Tensor) -> Dict[str, Tensor]:
    """Of a batch without labels on one of several processes.

    All have to have the same collective calls and gradients. So there is a
    loss of labels that are none, to be multiplied by zero, and the heads take
    no notice.
    """
    ignore_index = ignore_index_of(task)
    data_samples = [any_label(sample, ignore_index)
                    for sample in data_samples]
    heads = set(task.modules()) - set(task.backbone.modules())
    with kept_buffers(heads, total > 0):
        losses = _losses_of(task, inputs, features, data_samples)
    return {name: loss for name, loss in losses.items() if 'loss' in name}


def _losses_of(task: Any, inputs: Tensor, features: Any,
               data_samples: List) -> Dict[str, Tensor]:
    """The task's losses, of features that have been computed already.

    The task is handed them when it asks for them.
    """
    asked = []

    def extract_feat(inputs: Tensor) -> Any:
        asked.append(True)
        return features

    try:
        with replaced(task, 'extract_feat', extract_feat):
            losses = task.loss(inputs, data_samples)
    except (IndexError, RuntimeError):
        # of a wrong class id PyTorch says that it is out of bounds
        check_task_labels(task, data_samples)
        raise
    if not asked:
        raise RuntimeError(
            f'`task`: the loss of {type(task).__name__} does not ask its '
            '`extract_feat` for features, so that it cannot be distilled '
            'jointly; use RepFusion on its backbone instead')
    return losses


def _weighted(loss: Any, weight: Tensor) -> Any:
    return [one * weight for one in loss] if isinstance(loss, list) \
        else loss * weight
