"""What a task's heads say about its labels."""
from typing import Any, Dict, List, Optional

from torch import nn

from ..labels import UNLABELLED_PIXEL

NOT_HEADS = ('backbone', 'neck', 'data_preprocessor')


def heads_of(task: nn.Module) -> List[Any]:
    """The parts of a task that have losses of their own.

    Args:
        task (nn.Module): Of any library.

    Returns:
        list[nn.Module]: Its heads, those of a list one by one.
    """
    heads: List[Any] = []
    for name, child in task.named_children():
        if name not in NOT_HEADS:
            heads += child if isinstance(child, nn.ModuleList) else [child]
    return [head for head in heads if callable(getattr(head, 'loss', None))]


def ignore_index_of(task: nn.Module) -> int:
    """What the masks of a segmentor hold where a pixel is unlabelled.

    Args:
        task (nn.Module): Of any library.

    Returns:
        int: ``decode_head.ignore_index``, that of a cascade's last head, or
        of the head's losses if it has none; else 255.
    """
    head = _decode_head(task)
    for part in () if head is None else (head, *head.modules()):
        for name in ('ignore_index', 'ignore_label'):
            index = getattr(part, name, None)
            if isinstance(index, int):
                return index
    return UNLABELLED_PIXEL


def mask_classes_of(task: nn.Module) -> Optional[int]:
    """How many class ids the masks of a segmentor may hold.

    Args:
        task (nn.Module): Of any library.

    Returns:
        int, optional: ``decode_head.num_classes``, but 2 where one channel
        tells foreground, 1, from background, 0. None for another task.
    """
    head = _decode_head(task)
    if getattr(head, 'out_channels', None) == 1:
        return 2
    return getattr(head, 'num_classes', None)


def box_classes_of(task: nn.Module) -> Dict[str, int]:
    """How many classes the boxes of a detector may be of.

    Args:
        task (nn.Module): Of any library.

    Returns:
        dict[str, int]: By the path of the head that knows them, those of a
        cascade one by one; empty for another task.
    """
    if not hasattr(task, 'bbox_head') and not hasattr(task, 'roi_head'):
        return {}
    if type(task).__name__ == 'RPN':  # it makes one class of all by itself
        return {}
    return {path: head.num_classes for path, head in task.named_modules()
            if path.split('.')[0] in ('bbox_head', 'roi_head')
            and isinstance(getattr(head, 'num_classes', None), int)}


def _decode_head(task: nn.Module) -> Optional[nn.Module]:
    head = getattr(task, 'decode_head', None)
    return head[-1] if isinstance(head, nn.ModuleList) else head
