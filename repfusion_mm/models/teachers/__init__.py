from .bank.teacher import BankedTeacher
from .diffusion.diffusion_teacher import DiffusionTeacher
from .diffusion.guided_diffusion_teacher import GuidedDiffusionTeacher
from .diffusion.unet_teacher import UNetTeacher
from .recognition.classifier_teacher import ClassifierTeacher
from .several_teachers import SeveralTeachers

__all__ = ['BankedTeacher', 'ClassifierTeacher', 'DiffusionTeacher',
           'GuidedDiffusionTeacher', 'SeveralTeachers', 'UNetTeacher']
