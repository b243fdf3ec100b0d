"""Checkpoints of other models, given to one that distils.

MMEngine would only warn that nothing fits, and train from random weights.
"""
from typing import List

from mmengine.logging import print_log
from torch import nn

# what distillation adds to a student or a task, in a checkpoint
PARTS = ('teacher', 'time_sampler', 'connections', 'reward', 'regressor')


def take_as_task(state_dict: dict, task: nn.Module) -> None:
    """Renames the weights of a plain model to those of a joint model's task.

    Metadata go along, by which mmpose tells old checkpoints from new ones.

    Args:
        state_dict (dict): Of a checkpoint, changed in place if no key begins
            with ``task.``, and some with the name of a part of the task.
        task (nn.Module): The task's model.
    """
    plain = _of_student(state_dict)
    modules = [f'{name}.' for name, _ in task.named_children()]
    if any(key.startswith('task.') for key in plain) or not any(
            key.startswith(tuple(modules)) for key in plain):
        return
    for key in plain:
        state_dict[f'task.{key}'] = state_dict.pop(key)
    metadata = getattr(state_dict, '_metadata', {})
    for name in list(metadata):
        metadata[f'task.{name}' if name else 'task'] = metadata[name]
    print_log('No key of the checkpoint begins with `task.`: it is taken as '
              f'that of a plain {type(task).__name__}, and {len(plain)} keys '
              'go to `task`', 'current')


def refuse_foreign(state_dict: dict, model: nn.Module, student: str) -> None:
    """Refuses a checkpoint of which nothing reaches the student.

    Args:
        state_dict (dict): Of a checkpoint. One that holds nothing but parts of
            the distillation is let through.
        model (nn.Module): What it is loaded into.
        student (str): Which module of it is the student, or holds it.

    Raises:
        ValueError: If it is of another model.
    """
    keys = _of_student(state_dict)
    if keys and not any(key.startswith(f'{student}.') for key in keys):
        raise ValueError(
            f'nothing of the checkpoint fits the `{student}` of a '
            f'{type(model).__name__}: expected keys that begin with '
            f'`{student}.`, got for example {keys[:3]}; an `init_cfg` in the '
            "student's config, dict(type='Pretrained', checkpoint=..., prefix="
            '...), takes them by another prefix, or by none')


def _of_student(state_dict: dict) -> List[str]:
    return [key for key in state_dict if key.split('.')[0] not in PARTS]
