"""The students by name; nothing here imports MMEngine."""
from typing import Dict, NamedTuple, Tuple

from .plan_error import PlanError

SMALL, MIDDLING = 32, 96  # pixels: the largest side of the first two files


class Student(NamedTuple):
    """A backbone, and how it is fit to images of a size.

    Attributes:
        title (str): What the field calls it.
        params (float): In millions.
        files (tuple[str, str, str]): Configs of ``configs/_base_/students``
            for images of up to 32 pixels, of up to 96, and of more.
        schedule (str): The config of ``configs/_base_/schedules`` that says
            how it is optimised.
    """
    title: str
    params: float
    files: Tuple[str, str, str]
    schedule: str = 'adamw_5k'

    def file_for(self, size: int) -> str:
        """The config for images of a size."""
        return self.files[(size > SMALL) + (size > MIDDLING)]


# transformers and ConvNeXt take smaller steps, and weight decay with care
STUDENTS: Dict[str, Student] = dict(
    resnet18=Student('ResNet-18', 11.2,
                     ('resnet18_cifar', 'resnet18', 'resnet18')),
    resnet50=Student('ResNet-50', 23.5,
                     ('resnet50_cifar', 'resnet50', 'resnet50')),
    mobilenet_v2=Student('MobileNetV2', 2.2, ('mobilenet_v2', ) * 3),
    shufflenet_v2=Student('ShuffleNetV2 1.0x', 1.3, ('shufflenet_v2', ) * 3),
    convnext_tiny=Student(
        'ConvNeXt-T', 27.8,
        ('convnext_tiny_32px', 'convnext_tiny_64px', 'convnext_tiny'),
        'adamw_200e'),
    vit_small=Student(
        'ViT-S', 21.7, ('vit_small_32px', 'vit_small_64px', 'vit_small'),
        'adamw_200e'))


def find_student(name: str) -> Student:
    """A student by its name.

    Args:
        name (str): As the table has it.

    Returns:
        Student: It.

    Raises:
        PlanError: If there is none; the nearest are named.
    """
    if name not in STUDENTS:
        from repfusion_mm.models.utils.nearest import nearest
        raise PlanError(f'--student is {name!r}, expected one of '
                        f'{", ".join(STUDENTS)}; nearest: '
                        f'{nearest(name, STUDENTS, 2)}')
    return STUDENTS[name]


def student_lines() -> str:
    """The table of students, for a terminal."""
    return '\n'.join(f'  {name:15}{student.title:18}{student.params:5.1f} M '
                     'parameters' for name, student in STUDENTS.items())
