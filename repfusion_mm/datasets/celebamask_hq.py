"""CelebAMask-HQ, for mmseg; importing this module imports mmseg.

The registry knows it as ``repfusion_mm.CelebAMaskHQ`` wherever mmseg is
installed, without importing mmseg before it is built.
"""
from typing import Any, Optional, Sequence

from mmseg.datasets import BaseSegDataset

from repfusion_mm.arguments.checked import checked

# in the order of their ids; later parts lie over earlier ones
CLASSES = ('background', 'skin', 'nose', 'eye_g', 'l_eye', 'r_eye', 'l_brow',
           'r_brow', 'l_ear', 'r_ear', 'mouth', 'u_lip', 'l_lip', 'hair',
           'hat', 'ear_r', 'neck_l', 'neck', 'cloth')


@checked
class CelebAMaskHQ(BaseSegDataset):
    """30,000 portraits, with a mask of 18 parts of the face and its clothing.

    The folder is what ``tools/dataset_converters/celebamask_hq.py`` writes of
    the official one, for each of the splits train, val and test::

        celebamask_hq/images/<split>/*.jpg         512x512
        celebamask_hq/annotations/<split>/*.png    a class id for each pixel

    A side (``l_eye``) is the person's. Where a pipeline flips images it must
    swap the sides: ``dict(type='RandomFlip', prob=0.5, swap_seg_labels=...)``
    with the pairs of :attr:`SIDES`, less one each if ``background=False``.

    Args:
        background (bool): Whether background is a class: then there are 19,
            and the ids are those of the files. False gives the 18 parts, as
            published for RepFusion: pixels of the background become 255,
            which neither losses nor metrics look at, and all other ids go
            down by one. Defaults to True.
        metainfo (dict, optional): As for ``mmseg.BaseSegDataset``. Defaults
            to None.
        **kwargs: As for ``mmseg.BaseSegDataset``, above all ``data_root``,
            ``data_prefix`` and ``pipeline``.

    Raises:
        ValueError: If ``background`` is False and ``metainfo`` chooses
            classes, too.

    Source: Lee et al., "MaskGAN: Towards Diverse and Interactive Facial Image
    Manipulation", CVPR 2020.

    Example:
        >>> dataset = dict(
        ...     type='repfusion_mm.CelebAMaskHQ',
        ...     data_root='data/celebamask_hq',
        ...     data_prefix=dict(img_path='images/val',
        ...                      seg_map_path='annotations/val'),
        ...     background=False,
        ...     pipeline=[dict(type='mmseg.LoadImageFromFile'),
        ...               dict(type='mmseg.LoadAnnotations'),
        ...               dict(type='mmseg.PackSegInputs')],
        ...     lazy_init=True)
    """
    METAINFO = dict(
        classes=CLASSES,
        palette=[[0, 0, 0], [204, 0, 0], [76, 153, 0], [204, 204, 0],
                 [51, 51, 255], [204, 0, 204], [0, 255, 255], [255, 204, 204],
                 [102, 51, 0], [255, 0, 0], [102, 204, 0], [255, 255, 0],
                 [0, 0, 153], [0, 0, 204], [255, 51, 153], [0, 204, 204],
                 [0, 51, 0], [255, 153, 51], [0, 204, 0]])
    SIDES = ((4, 5), (6, 7), (8, 9))  # eyes, brows, ears

    def __init__(self,
                 background: bool = True,
                 metainfo: Optional[dict] = None,
                 **kwargs: Any) -> None:
        if not background:
            chosen: Sequence = (metainfo or {}).get('classes') or ()
            if chosen:
                raise ValueError(
                    '`background` is False, and `metainfo.classes` is '
                    f'{tuple(chosen)}: only one of them can choose classes')
            # mmseg maps ids to the places of the classes that are named here
            metainfo = dict(metainfo or {}, classes=CLASSES[1:])
        super().__init__(metainfo=metainfo, **kwargs)
