from .digits import Digits
from .few_labels import FewLabels

__all__ = ['Digits', 'FewLabels']
