from importlib.util import find_spec
from typing import Any

from repfusion_mm.registry import DATASETS

from .cached_images import cached_images
from .digits import Digits
from .few_labels import FewLabels
from .tiny_imagenet import TinyImageNet

__all__ = ['Digits', 'FewLabels', 'TinyImageNet', 'cached_images']


def _celebamask_hq(**kwargs: Any) -> Any:
    """Import mmseg, which takes seconds, only for whoever builds this."""
    from .celebamask_hq import CelebAMaskHQ
    return CelebAMaskHQ(**kwargs)


if find_spec('mmseg') is not None:
    DATASETS.register_module(name='CelebAMaskHQ', module=_celebamask_hq)
