from .strided_backbone import StridedBackbone

__all__ = ['StridedBackbone']
