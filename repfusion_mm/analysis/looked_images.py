"""The images that are looked at before the training, in several views."""
from contextlib import contextmanager
from typing import (
    Any,
    Callable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
)

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from torch import Tensor

from repfusion_mm.models.labels import labelled_mask
from repfusion_mm.models.utils.raw_images import RawImage


class LookedImages(NamedTuple):
    """N images in V views.

    Attributes:
        images (Tensor): Raw images, RGB, uint8, (N, V, 3, H, W), on the CPU.
        data_samples (list): N * V of them, preprocessed; views of one image
            lie together.
        indices (list[int]): Of the images in the data set, (N,).
    """
    images: Tensor
    data_samples: List[Any]
    indices: List[int]


def draw_images(dataset: Any, number: int,
                labelled: bool = True) -> List[int]:
    """Draw different images of a data set at random.

    An image that the data set repeats, whatever it is wrapped in, is one: it
    is known by its path, or by its number and pixels.

    Args:
        dataset: Of the training; of one without ``get_data_info`` nothing is
            known, and any image is drawn.
        number (int): How many.
        labelled (bool): Whether only labelled ones are drawn. Of a mask it is
            known once it is read. Defaults to True.

    Returns:
        list[int]: Their indices; fewer if there are no more.
    """
    found: dict = {}
    for index in np.random.permutation(len(dataset)).tolist():
        if len(found) == number:
            break
        if not hasattr(dataset, 'get_data_info'):
            found[index] = index
            continue
        info = dataset.get_data_info(index)
        if not labelled or _is_labelled(info):
            found.setdefault(_name(info, index), index)
    return list(found.values())


def view_images(dataset: Any,
                indices: Sequence[int],
                views: int,
                data_preprocessor: Any,
                raw_image: RawImage,
                collate: Callable = pseudo_collate,
                labelled: bool = True) -> Optional[LookedImages]:
    """Run images through their pipeline several times.

    Args:
        dataset: With the training's own pipeline.
        indices (Sequence[int]): Of the images.
        views (int): How often each is drawn.
        data_preprocessor (nn.Module): Of the batches; it mixes no images
            here.
        raw_image (RawImage): Of the model.
        collate (Callable): Makes a batch of samples. Defaults to MMEngine's
            ``pseudo_collate``.
        labelled (bool): Whether images are left out of which a view shows
            no label. Defaults to True. Those are anyway that cannot be read.

    Returns:
        LookedImages, optional: None if no image is left.
    """
    kept, images, samples = [], [], []
    for index in indices:
        batch = preprocessed(dataset, [index] * views, data_preprocessor,
                             collate)
        found = list(batch.get('data_samples') or [])
        if labelled and not bool(labelled_mask(found).all()):
            continue
        # for a bad image, the data set gives another one each time
        if len({sample.get('img_path') for sample in found}) > 1:
            continue
        images.append(raw_image.invert(batch['inputs'], data_preprocessor))
        samples += found
        kept.append(index)
    if not kept:
        return None
    size = images[0].shape[2:]  # a pipeline without a crop may have several
    return LookedImages(
        torch.stack([
            (one if one.shape[2:] == size else F.interpolate(
                one, size, mode='bilinear', align_corners=False,
                antialias=True)).round().to(torch.uint8).cpu()
            for one in images]), samples, kept)


def can_be_held_out(looked: LookedImages) -> LookedImages:
    """Without images whose class no other image has.

    Held out, they would be predicted by a fit that does not know the class:
    any time step is then worth the same.

    Args:
        looked (LookedImages): Labelled images of any task.

    Returns:
        LookedImages: Those of other tasks are all there.
    """
    labels = [sample.get('gt_label') for sample in looked.data_samples]
    if any(label is None or label.numel() != 1 for label in labels):
        return looked
    views = looked.images.size(1)
    classes = torch.cat(labels)[::views].tolist()
    kept = [number for number, label in enumerate(classes)
            if classes.count(label) > 1]
    return LookedImages(
        looked.images[kept],
        [sample for number in kept for sample in
         looked.data_samples[number * views:(number + 1) * views]],
        [looked.indices[number] for number in kept])


def preprocessed(dataset: Any,
                 indices: Sequence[int],
                 data_preprocessor: Any,
                 collate: Callable = pseudo_collate) -> dict:
    """A batch of certain images, as the student sees it.

    Args:
        dataset: With the training's own pipeline.
        indices (Sequence[int]): Of the images.
        data_preprocessor (nn.Module): Of the batches; it mixes no images
            here.
        collate (Callable): Makes a batch of samples. Defaults to MMEngine's
            ``pseudo_collate``.

    Returns:
        dict: ``inputs`` and ``data_samples``.
    """
    with _without_augments(data_preprocessor):
        return data_preprocessor(
            collate([dataset[index] for index in indices]), True)


def _is_labelled(info: dict) -> bool:
    """Whether an annotation may hold a label."""
    if info.get('unlabelled'):
        return False
    if info.get('keypoints_visible') is not None:
        return bool((np.asarray(info['keypoints_visible']) > 0).any())
    label, score = info.get('gt_label'), info.get('gt_score')
    if score is not None and (np.asarray(score) < 0).any():
        return False
    if label is not None and (np.atleast_1d(label) < 0).any():
        return False
    return not (label is None and score is None) or \
        info.get('seg_map_path') is not None


def _name(info: dict, index: int) -> Any:
    if info.get('img_path'):
        return info['img_path']
    image = info.get('img')
    return index if image is None else np.asarray(image).tobytes()


@contextmanager
def _without_augments(data_preprocessor: Any) -> Iterator[None]:
    """A preprocessor that pads and normalises, but mixes nothing."""
    augments = getattr(data_preprocessor, 'batch_augments', None)
    if augments is not None:
        data_preprocessor.batch_augments = None
    try:
        yield
    finally:
        if augments is not None:
            data_preprocessor.batch_augments = augments
