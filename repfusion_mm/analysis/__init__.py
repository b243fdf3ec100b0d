from .linear_probe import pooled_features, probe_over_time

__all__ = ['pooled_features', 'probe_over_time']
