"""Whether what the command uses is installed; nothing of it is imported."""
from importlib.util import find_spec

from .plan_error import PlanError


def check_installed() -> None:
    """Look for MMEngine, mmcv and mmpretrain.

    Raises:
        PlanError: If one is missing; it says what to do.
    """
    missing = [name for name in ('mmengine', 'mmcv', 'mmpretrain')
               if find_spec(name) is None]
    if missing:
        raise PlanError(
            f'{", ".join(missing)} not installed, whose trainings, backbones '
            'and data sets are used: pip install -r requirements/demo.txt in '
            'a checkout; `python -m repfusion_mm.check` says what fits')
