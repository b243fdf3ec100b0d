from .defer_log_hook import DeferLogHook
from .dpm_export_hook import DPMExportHook
from .finite_hook import FiniteHook
from .pretrained_check_hook import PretrainedCheckHook
from .time_sampler_hook import TimeSamplerHook

__all__ = ['DPMExportHook', 'DeferLogHook', 'FiniteHook',
           'PretrainedCheckHook', 'TimeSamplerHook']
