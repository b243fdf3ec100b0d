"""Weights of strangers: read without running anything of them."""
from .allowed import allow
from .mmengine_loader import guard_mmengine
from .reading import RefusedFileError, read_weights

__all__ = ['RefusedFileError', 'allow', 'guard_mmengine', 'read_weights']
