"""What is wrong with a run, told before its first step."""
from typing import Any, List, Optional, Set

from mmengine.dataset import BaseDataset, DefaultSampler
from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.utils.data import DataLoader

from repfusion_mm.models.utils.dataset_wrappers import wrapped


def check_loop(model: nn.Module, stage: str) -> None:
    """Refuse to evaluate a model that does not predict.

    Args:
        model (nn.Module): The run's, bare.
        stage (str): ``'val'`` or ``'test'``.

    Raises:
        ValueError: If it does not.
    """
    if not getattr(model, 'predicts', True):
        raise ValueError(
            f'`model` is a {type(model).__name__}, which predicts nothing: '
            f'set `{stage}_dataloader`, `{stage}_cfg` and `{stage}_evaluator` '
            'to None, and evaluate what it has trained by a config of stage '
            '2')


def check_mixing(dataset: Any) -> None:
    """Refuse a mosaic of which nobody knows what is labelled.

    Args:
        dataset: Of the training. What makes one image of several, around
            FewLabels, packs it by itself (mmdet's ``MultiImageMixDataset``).

    Raises:
        ValueError: If it packs unlabelled images without saying so, or mixes
            them with labelled ones.
    """
    transforms = [] if isinstance(dataset, BaseDataset) else \
        list(getattr(dataset, 'pipeline', None) or [])
    if transforms and type(transforms[-1]).__name__ == 'PackDetInputs':
        parts = _parts(dataset)
        if len(parts) > 1:
            raise ValueError(
                f'`train_dataloader.dataset`: a {type(dataset).__name__} '
                'makes one image of labelled and unlabelled ones; put one '
                'around each part of FewLabels, and ConcatDataset around both')
        if 'unlabelled' in parts and \
                'unlabelled' not in transforms[-1].meta_keys:
            raise ValueError(
                f'`train_dataloader.dataset`: the {type(dataset).__name__} '
                'around unlabelled images has a PackDetInputs without '
                '`unlabelled` among its `meta_keys`, and an image without '
                'boxes would say that there is nothing in it; add it')
    for one in wrapped(dataset):
        check_mixing(one)


def _parts(dataset: Any) -> Set[str]:
    """The parts of FewLabels inside a data set."""
    part = getattr(dataset, 'part', None)
    found = {part} if part in ('labelled', 'unlabelled') else set()
    return found.union(*map(_parts, wrapped(dataset)))


def check_batches(runner: Any, model: nn.Module) -> List[Any]:
    """Refuse batches that are too small for what is done with them.

    An epoch may end with one that is. What each loss needs is known; what a
    batch norm sees of an image is not, so that they look in the first step.

    Args:
        runner (Runner): About to train.
        model (nn.Module): Its model, bare.

    Returns:
        list: Handles of hooks, to be removed after the first step.

    Raises:
        ValueError: If there is no batch at all, or one is too small.
    """
    loader = runner.train_dataloader
    if not isinstance(loader, DataLoader):
        return []
    sampler: Any = loader.sampler
    if not len(loader):
        raise ValueError(
            f'`train_dataloader` has no batch: {len(sampler)} images '
            f'a process, `batch_size` {loader.batch_size}, `drop_last` '
            f'{loader.drop_last}; give it more images, or a smaller '
            '`batch_size`')
    images = _smallest(loader, isinstance(runner.train_loop,
                                          EpochBasedTrainLoop))
    if images is None:
        return []
    remedy = f'the smallest batch of a process holds {images} of ' \
        f'{len(sampler)}: ' + (
            'raise `train_dataloader.batch_size`'
            if images == loader.batch_size else
            'set `train_dataloader.drop_last=True`, or another `batch_size` '
            f'than {loader.batch_size}')
    for module in model.modules():
        least = getattr(module, 'least_images', 1)
        if images < least:
            raise ValueError(f'{type(module).__name__} compares the images of '
                             f'a batch, at least {least}, but {remedy}')
    if images > 1:
        return []
    return [module.register_forward_pre_hook(_needs_two(name, remedy))
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm)]


def _smallest(loader: DataLoader, by_epoch: bool) -> Optional[int]:
    """Images in the smallest batch that is drawn, None if nobody knows."""
    if loader.batch_size is None:  # a batch sampler of its own
        return None
    # a sampler that has no end can only be told by its class
    sampler: Any = loader.sampler
    ends = by_epoch or isinstance(sampler, DefaultSampler)
    rest = len(sampler) % loader.batch_size
    return rest if ends and rest and not loader.drop_last else \
        loader.batch_size


def _needs_two(name: str, remedy: str):

    def look(module: nn.Module, inputs: tuple) -> None:
        if not module.training or not isinstance(inputs[0], Tensor) or (
                isinstance(module, SyncBatchNorm) and get_world_size() > 1):
            return
        if inputs[0].numel() == inputs[0].size(0) * inputs[0].size(1):
            raise ValueError(
                f'the batch norm {name!r} sees one value a channel of each '
                f'image, and cannot normalise a single image, but {remedy}')

    return look
