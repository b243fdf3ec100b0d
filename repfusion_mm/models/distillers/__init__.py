from .repfusion import RepFusion

__all__ = ['RepFusion']
