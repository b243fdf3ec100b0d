"""What a text-conditional teacher is told that an image shows."""
from typing import Any, Dict, List, Optional

from repfusion_mm.models.utils.nearest import nearest

from .label_rows import LabelRows

TEMPLATE = 'a photo of a {}'
CHOICES = ('dict(prompt=\'\'), the same prompt for every image; '
           'dict(class_names=[\'cat\', \'dog\']), a prompt for each label, '
           'made by `template` (\'a photo of a {}\')')
MODES = ('prompt', 'class_names')


class PromptCondition(LabelRows):
    """Turns labels into rows of a table of encoded prompts.

    Args:
        cfg (dict, optional): ``prompt`` or ``class_names``, as
            :class:`DiffusionTeacher` describes them; None is no prompt.
        key (str): The config key, for error messages.

    Attributes:
        prompts (list[str, optional]): Of the rows. None is no prompt, as in
            the family's training.

    Raises:
        ValueError: If it is something else.
    """

    def __init__(self, cfg: Optional[dict], key: str) -> None:
        cfg = dict(prompt=None) if cfg is None else cfg
        if not isinstance(cfg, dict):
            raise ValueError(f'`{key}` is {cfg!r}, expected one of: '
                             f'{CHOICES}')
        known = (*MODES, 'template', 'leak_labels')
        for name in cfg:
            if name not in known:
                raise ValueError(f'`{key}` has no {name!r}; nearest: '
                                 f'{nearest(name, known)}')
        modes = [mode for mode in MODES if mode in cfg]
        if len(modes) != 1:
            raise ValueError(f'`{key}` takes exactly one of {MODES}, got '
                             f'{modes}: {CHOICES}')
        row_of: Optional[Dict[int, int]] = None
        self.prompts: List[Optional[str]] = [cfg.get('prompt')]
        if modes == ['class_names']:
            names = _names(cfg['class_names'], key)
            template = cfg.get('template', TEMPLATE)
            if not isinstance(template, str) or '{}' not in template:
                raise ValueError(f'`{key}.template` is {template!r}, expected '
                                 f'a text with {{}} in it, such as '
                                 f'{TEMPLATE!r}')
            row_of = {label: row for row, label in enumerate(names)}
            row_of[-1] = len(names)
            self.prompts = [*(template.replace('{}', name)
                              for name in names.values()), None]
        elif not isinstance(self.prompts[0], (str, type(None))):
            raise ValueError(f'`{key}.prompt` is {self.prompts[0]!r}, '
                             'expected a text')
        for name in ('template', 'leak_labels'):
            if name in cfg and row_of is None:
                raise ValueError(f'`{key}.{name}` is {cfg[name]!r} beside '
                                 '`prompt`, expected beside `class_names`')
        leak = cfg.get('leak_labels', False)
        if not isinstance(leak, bool):
            raise ValueError(f'`{key}.leak_labels` is {leak!r}, expected True '
                             'or False')
        super().__init__(f'{key}.{modes[0]}', row_of, len(self.prompts), leak)


def _names(given: Any, key: str) -> Dict[int, str]:
    """The name of each label's class."""
    names = dict(enumerate(given)) if isinstance(given, (list, tuple)) \
        else given
    if not isinstance(names, dict) or not names or not all(
            isinstance(label, int) and label >= 0 and isinstance(name, str)
            for label, name in names.items()):
        raise ValueError(f'`{key}.class_names` is {given!r}, expected the '
                         'names of the labels 0, 1, ..., or a dict from '
                         'label to name')
    return names
