from .unet_teacher import UNetTeacher

__all__ = ['UNetTeacher']
