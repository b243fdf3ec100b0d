from .digits import Digits
from .few_labels import FewLabels
from .tiny_imagenet import TinyImageNet

__all__ = ['Digits', 'FewLabels', 'TinyImageNet']
