"""Mixed precision, as the option --amp asks for it."""
from typing import Any, Optional

REPLACED = ('OptimWrapper', 'AmpOptimWrapper',
            'repfusion_mm.BFloat16OptimWrapper')


def use_amp(cfg: Any, device: str, dtype: Optional[str] = None) -> None:
    """Train in mixed precision: as OpenMMLab does, or in bfloat16.

    Args:
        cfg (Config): Its ``optim_wrapper`` is changed.
        device (str): What is computed on, as of :func:`find_device`.
        dtype (str, optional): ``'float16'`` or ``'bfloat16'``. Defaults to
            None: the former on a GPU, the latter on a CPU.

    Raises:
        ValueError: If the device does not suit the type, or the optimiser's
            wrapper would be lost.
    """
    dtype = dtype or ('bfloat16' if device == 'cpu' else 'float16')
    if dtype == 'float16' and device == 'cpu':
        raise ValueError('--amp-dtype float16 needs a GPU; on a CPU --amp '
                         'computes in bfloat16')
    name: Any = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if getattr(name, '__name__', name).split('.')[-1] not in [
            each.split('.')[-1] for each in REPLACED]:
        raise ValueError(f'--amp replaces `optim_wrapper.type`, but it is '
                         f'{name!r}, which would be lost; expected one of '
                         f'{REPLACED}, or none')
    if dtype == 'float16':
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
        return
    cfg.optim_wrapper.type = 'repfusion_mm.BFloat16OptimWrapper'
    for key in ('loss_scale', 'dtype', 'use_fsdp'):  # of AmpOptimWrapper
        cfg.optim_wrapper.pop(key, None)
