from .defer_log_hook import DeferLogHook
from .dpm_export_hook import DPMExportHook
from .exact_resume_hook import ExactResumeHook
from .feature_quality_hook import FeatureQualityHook
from .finite_hook import FiniteHook
from .pretrained_check_hook import PretrainedCheckHook
from .skipped_images_hook import SkippedImagesHook
from .time_sampler_hook import TimeSamplerHook

__all__ = ['DPMExportHook', 'DeferLogHook', 'ExactResumeHook',
           'FeatureQualityHook', 'FiniteHook', 'PretrainedCheckHook',
           'SkippedImagesHook', 'TimeSamplerHook']
