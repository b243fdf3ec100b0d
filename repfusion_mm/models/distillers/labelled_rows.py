"""The losses of a task's heads are those of its labelled images alone."""
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator, Sequence

from torch import Tensor, nn

from .task_heads import heads_of

# losses that are made of what the head's `forward` returns and of the samples
OF_FORWARD = dict(
    # all heads but MaskFormer's, SAN's and PointRend's inherit them
    mmseg=('BaseDecodeHead.loss', 'BaseCascadeDecodeHead.loss'),
    mmpretrain=('ClsHead.loss', 'MultiLabelClsHead.loss',
                'EfficientFormerClsHead.loss'),
    mmdet=('BaseDenseHead.loss', ),
    # not those that look for several people in an image
    mmpose=('HeatmapHead.loss', 'CPMHead.loss', 'MSPNHead.loss',
            'SimCCHead.loss', 'RTMCCHead.loss', 'RTMWHead.loss',
            'RegressionHead.loss', 'RLEHead.loss', 'DSNTHead.loss',
            'IntegralRegressionHead.loss'))


def heads_see_batch(task: nn.Module) -> bool:
    """Whether a task's heads are to see unlabelled images, too.

    A head with batch norms depends on all images that it is given. Its
    statistics are to be those of the whole batch, as the backbone's are; and
    one labelled image alone would stop it, where a map is pooled to a single
    pixel. Without batch norms the rows of a head are its labelled images' own,
    and the others need not be computed.

    Args:
        task (nn.Module): Of any library.

    Returns:
        bool: Whether one has batch norms, and all that have make their losses
        of what their ``forward`` returns, so that :func:`only_rows` can.
    """
    losses = [type(head).loss for head in heads_of(task)
              if _has_batch_norm(head)]
    return bool(losses) and all(
        loss.__qualname__ in OF_FORWARD.get(loss.__module__.split('.')[0], ())
        for loss in losses)


@contextmanager
def only_rows(task: nn.Module, data_samples: Sequence, labelled: Sequence,
              rows: Tensor) -> Iterator[None]:
    """Let the heads see a whole batch, and their losses some of its rows.

    The losses are then what they would be of these rows alone, whatever they
    divide by, and however they treat an ignored pixel.

    Args:
        task (nn.Module): Of any library.
        data_samples (Sequence): Of the batch, as the task is given them.
        labelled (Sequence): Those of the rows, for the losses.
        rows (Tensor): Long, (M,), on the images' device.

    Raises:
        RuntimeError: If a head was not asked for its loss.
    """
    heads, asked = heads_of(task), []

    def put(samples: Any) -> Any:
        return labelled if samples is data_samples else samples

    def loss_of_rows(head: Any) -> Callable:
        loss, forward = head.loss, head.forward

        def cut_forward(*args: Any, **kwargs: Any) -> Any:
            return take_rows(forward(*args, **kwargs), rows)

        def cut_loss(*args: Any, **kwargs: Any) -> Any:
            asked.append(head)
            args = tuple(put(arg) for arg in args)
            kwargs = {key: put(arg) for key, arg in kwargs.items()}
            if not _has_batch_norm(head):
                return loss(*take_rows(args, rows), **take_rows(kwargs, rows))
            with replaced(head, 'forward', cut_forward):
                return loss(*args, **kwargs)

        return cut_loss

    with ExitStack() as stack:
        for head in heads:
            stack.enter_context(replaced(head, 'loss', loss_of_rows(head)))
        yield
    if set(asked) != set(heads):
        raise RuntimeError(
            f'`task`: {type(task).__name__} does not ask every head for its '
            '`loss`, so that it cannot be trained on batches of which a part '
            'is unlabelled')


@contextmanager
def replaced(owner: nn.Module, name: str, value: Callable) -> Iterator[None]:
    """Have another method in place of a module's own, for a while.

    Args:
        owner (nn.Module): The module.
        name (str): Of the method.
        value (Callable): The other.
    """
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def take_rows(features: Any, rows: Tensor) -> Any:
    """Some rows of every tensor in nested tuples, lists and dicts.

    Args:
        features (Any): Tensors, nested or not; anything else stays.
        rows (Tensor): Long, (M,), on the tensors' device.

    Returns:
        Any: The same with M rows.
    """
    if isinstance(features, Tensor):
        return features[rows]
    if isinstance(features, dict):
        return type(features)({key: take_rows(value, rows)
                               for key, value in features.items()})
    if isinstance(features, (list, tuple)):
        return type(features)([take_rows(one, rows) for one in features])
    return features


def _has_batch_norm(head: nn.Module) -> bool:
    """Whether it has layers with statistics over a batch, of any library."""
    return any(hasattr(module, 'running_mean') for module in head.modules())
