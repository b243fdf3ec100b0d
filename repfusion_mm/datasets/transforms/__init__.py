from .load_checked_image import LoadCheckedImage
from .load_checked_mask import LoadCheckedMask

__all__ = ['LoadCheckedImage', 'LoadCheckedMask']
