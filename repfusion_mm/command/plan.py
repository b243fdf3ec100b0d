"""What is going to be done, settled and written down before it is."""
import dataclasses
import json
import os
import os.path as osp
from typing import Any, Dict, List, Optional

from repfusion_mm.engine.resuming.atomic_write import write_atomically

from .plan_error import PlanError

FILE = 'plan.json'
LISTS = 'images'
TIMES = ('fixed', 'reinforced')
TRAININGS = 2


@dataclasses.dataclass
class Plan:
    """One run of the command.

    Attributes:
        data (str): Folder or config, absolute.
        student (str): Of the table.
        teacher (str, optional): Folder or hub id; None if one is trained.
        out (str): The output folder, absolute.
        labels (str, optional): Folder of labelled images, absolute.
        epochs (float, optional): As asked for.
        val_share (float): Of the labelled images, that are held out.
        time (str): ``'fixed'`` or ``'reinforced'``.
        flip (bool): Whether images are flipped at random.
        seed (int): Of all trainings.
        amp (bool): Whether they are in mixed precision.
        asked_size (int, optional): As asked for.
        size (int): Side of the images, in pixels.
        mark (str): Changes with the files of data and labels.
        images (int): That are distilled.
        broken (int): That cannot be read.
        others (int): Files that are no images.
        short_side (int): Median of the images, in pixels.
        watched (int): Images that are held out to watch the features.
        classes (list[str]): Of the labelled images.
        labelled (int): Images that classifiers learn from.
        test (int): Those that they are tested on.
        copies (int): Images of data that are left out, since they are held
            out.
        workers (int): That load images.
        steps (dict[str, int]): Of each training.
        seconds (dict[str, float]): Of a step of each training.
        megabytes (int): That are written.
        trainings (int): Changes where the same plan is trained or tested in
            another way than by an earlier version.
    """
    data: str
    student: str
    teacher: Optional[str]
    out: str
    labels: Optional[str]
    epochs: Optional[float]
    val_share: float
    time: str
    flip: bool = True
    seed: int = 0
    amp: bool = False
    asked_size: Optional[int] = None
    size: int = 0
    mark: str = ''
    images: int = 0
    broken: int = 0
    others: int = 0
    short_side: int = 0
    watched: int = 0
    classes: List[str] = dataclasses.field(default_factory=list)
    labelled: int = 0
    test: int = 0
    copies: int = 0
    workers: int = 0
    steps: Dict[str, int] = dataclasses.field(default_factory=dict)
    seconds: Dict[str, float] = dataclasses.field(default_factory=dict)
    megabytes: int = 0
    trainings: int = TRAININGS

    def path(self, *names: str) -> str:
        """A file of the output folder."""
        return osp.join(self.out, *names)

    def list(self, name: str) -> str:
        """The file that lists some images."""
        return self.path(LISTS, f'{name}.txt')

    def write(self) -> None:
        """Write it down, when it is settled."""
        write_atomically(self.path(FILE), json.dumps(
            dataclasses.asdict(self), indent=1).encode())


# what makes another plan of it, and the option's name
_OPTIONS = dict(
    data='DATA', student='--student', teacher='--teacher', labels='--labels',
    asked_size='--size', epochs='--epochs', val_share='--val-share',
    time='--time', flip='flipping (--no-flip)', seed='--seed',
    amp='mixed precision (--amp)',
    mark='the image files of DATA and --labels')


def settled_plan(asked: Plan) -> Optional[Plan]:
    """The plan that the output folder belongs to already.

    Args:
        asked (Plan): What is asked for now, with its ``mark``.

    Returns:
        Plan, optional: None in a folder that is new.

    Raises:
        PlanError: If it belongs to another one, or to something else.
    """
    path = asked.path(FILE)
    if not osp.exists(path):
        if osp.isfile(asked.out):
            raise PlanError(f'--out is {asked.out!r}, a file; expected a '
                            'folder')
        inside = set(os.listdir(asked.out)) if osp.isdir(asked.out) else set()
        if inside - {LISTS}:
            raise PlanError(
                f'--out is {asked.out!r}, which holds other things '
                f'({", ".join(sorted(inside)[:3])}); expected a new folder, '
                'or one that this command has begun')
        return None
    with open(path) as file:
        record = json.load(file)
    known = {field.name for field in dataclasses.fields(Plan)}
    if set(record) != known or record['trainings'] != TRAININGS:
        raise PlanError(f'{path} was written by another version of '
                        'repfusion_mm; expected a new --out')
    # the folder may have been moved; what is in it names itself by its place
    wrong = [_difference(name, record[key], getattr(asked, key))
             for key, name in _OPTIONS.items()
             if record[key] != getattr(asked, key)]
    if record['out'] != asked.out:
        wrong.append(f'the folder was {record["out"]!r} when it was begun')
    if wrong:
        raise PlanError(f'--out {asked.out} belongs to another plan: '
                        f'{"; ".join(wrong)}. Name another --out, or repeat '
                        'the command as it was')
    return Plan(**record)


def _difference(name: str, before: Any, now: Any) -> str:
    if name == _OPTIONS['mark']:
        return f'{name} have changed since'
    return f'{name} was {_shown(before)}, and is {_shown(now)}'


def _shown(value: Any) -> str:
    return 'not given' if value is None else repr(value)
