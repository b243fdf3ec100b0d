from .dpm import DPM

__all__ = ['DPM']
