from .defer_log_hook import DeferLogHook
from .dpm_export_hook import DPMExportHook
from .exact_resume_hook import ExactResumeHook
from .feature_quality_hook import FeatureQualityHook
from .pretrained_check_hook import PretrainedCheckHook
from .safe_checkpoint_hook import SafeCheckpointHook
from .time_sampler_hook import TimeSamplerHook

__all__ = ['DPMExportHook', 'DeferLogHook', 'ExactResumeHook',
           'FeatureQualityHook', 'PretrainedCheckHook', 'SafeCheckpointHook',
           'TimeSamplerHook']
