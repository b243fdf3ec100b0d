from .banked_teacher import BankedTeacher
from .classifier_teacher import ClassifierTeacher
from .guided_diffusion_teacher import GuidedDiffusionTeacher
from .unet_teacher import UNetTeacher

__all__ = ['BankedTeacher', 'ClassifierTeacher', 'GuidedDiffusionTeacher',
           'UNetTeacher']
