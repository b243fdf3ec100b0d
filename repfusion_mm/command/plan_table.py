"""The plan as a table, before anything long begins."""
from typing import Dict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .comparison import ARMS
from .plan import LISTS, Plan
from .rules import LEAST_EPOCHS, LEAST_TESTED, batch_size
from .students import find_student

SETTLED = 200  # steps, of batch norms; with 46 a ShuffleNetV2's had not
TITLES = dict(
    dpm='diffusion model of your images', choice='look for tap and time step',
    distill='distillation into the student',
    **{arm: f'classifier {title}' for arm, title in ARMS.items()})


def print_plan(console: Console, plan: Plan, done: Dict[str, dict]) -> None:
    """Say what is there, what is going to be done, and what it takes.

    Args:
        console (Console): Where to.
        plan (Plan): Settled.
        done (dict[str, dict]): Stages that are finished.
    """
    student = find_student(plan.student)
    table = Table(title='what there is', show_header=False)
    table.add_row('images', f'{plan.images:,} to distil' + (
        f', {plan.watched} to watch the features on' if plan.watched else ''))
    if plan.classes:
        table.add_row('labelled', f'{plan.labelled:,} to learn from, '
                      f'{plan.test:,} held out, {len(plan.classes)} classes')
    left_out = {
        f'broken, see {LISTS}/broken.txt': plan.broken,
        'copies of held-out images': plan.copies,
        'other files': plan.others}
    table.add_row('left out', ', '.join(
        f'{number:,} {what}' for what, number in left_out.items()
        if number) or 'none')
    table.add_row('size', f'{plan.size}x{plan.size} pixels; the images\' '
                  f'shorter side is {plan.short_side}'
                  + (', as --size says' if plan.asked_size else ''))
    table.add_row('student', f'{student.title}, {student.params} M parameters')
    table.add_row('teacher', escape(plan.teacher or 'a diffusion model that '
                                    'is trained on your images first'))
    if plan.amp:
        table.add_row('trained', 'in mixed precision')
    console.print(table)
    table = Table('stage', 'steps', 'about', 'state',
                  title='what will be done')
    seconds = 0.
    for name in TITLES:
        if name not in plan.seconds:
            continue
        taken = plan.seconds[name] * plan.steps.get(name, 1)
        table.add_row(TITLES[name], f'{plan.steps[name]:,}'
                      if name in plan.steps else '', in_words(taken),
                      'done' if name in done else '')
        seconds += taken * (name not in done)
    console.print(table)
    if plan.epochs is not None and plan.epochs < LEAST_EPOCHS:
        console.print(
            f'[yellow]--epochs {plan.epochs:g} is little: on CIFAR-10 5 and '
            'more paid, and 1.3 did not.')
    if plan.steps.get('distilled', SETTLED) < SETTLED:
        console.print(
            f'[yellow]{plan.steps["distilled"]} steps of a classifier are '
            'few: batch norms that have not settled may name every image '
            'alike, and the comparison then says nothing. More --epochs '
            'help.')
    if plan.classes and plan.test < LEAST_TESTED:
        console.print(
            f'[yellow]{plan.test} held-out images are too few to tell one '
            f'classifier from another; {LEAST_TESTED} and more may.')
    if not seconds:
        console.print(f'All of it is done, and lies in {escape(plan.out)}',
                      highlight=False)
        return
    epochs = plan.steps['distill'] * batch_size(plan.images) / plan.images
    console.print(
        f'About {in_words(seconds)} to go, {plan.megabytes:,} MB on the disk; '
        f'distillation sees each image {epochs:.3g} times. Ctrl-C keeps what '
        f'is done, and the same command goes on.\n'
        f'All of it lies in {escape(plan.out)}', highlight=False)


def in_words(seconds: float) -> str:
    """A duration for a reader.

    Args:
        seconds (float): Of it.

    Returns:
        str: Such as ``'3 minutes'``.
    """
    for unit, length in (('day', 86400), ('hour', 3600), ('minute', 60)):
        if seconds >= 1.5 * length:
            return f'{seconds / length:.{int(length > 60)}f} {unit}s'
    return f'{seconds:.0f} seconds'
