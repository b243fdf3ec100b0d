from .linear_probe import probe_over_time

__all__ = ['probe_over_time']
