"""From a folder of images to a better backbone, stage by stage."""
import os
import os.path as osp
from functools import partial
from typing import Any, Dict, List, NamedTuple, Optional

from mmengine.logging import MMLogger
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from repfusion_mm.converters.student_weights import (
    plain_names,
    plain_weights,
    read_checkpoint,
    write_plain,
)
from repfusion_mm.safe_loading import guard_mmengine

from .choice import choose, default_tap
from .comparison import ARMS, answers, compared
from .configs import (
    classifier_config,
    distill_config,
    dpm_config,
    dump,
    teacher_config,
)
from .image_list import image_list
from .make_plan import make_plan
from .plan import Plan
from .plan_error import PlanError
from .plan_table import TITLES, print_plan
from .record import Record
from .report import summary, write_report
from .training import train

__all__ = ['PlanError', 'Result', 'distill']


class Result(NamedTuple):
    """What lies in the output folder.

    Attributes:
        backbone (str): The weights, ``backbone.*``.
        config (str): Of stage 1.
        report (str): A page to look at.
        tap (str): What was distilled.
        t (int): At which time step.
        comparison (list[dict]): Accuracies, where there are labels.
    """
    backbone: str
    config: str
    report: str
    tap: str
    t: int
    comparison: List[dict]


def distill(data: str,
            student: str = 'resnet18',
            teacher: Optional[str] = None,
            out: Optional[str] = None,
            labels: Optional[str] = None,
            size: Optional[int] = None,
            epochs: Optional[float] = None,
            val_share: float = 0.2,
            time: str = 'fixed',
            flip: bool = True,
            seed: int = 0,
            amp: bool = False) -> Result:
    """Distil a diffusion model into a backbone, from a folder of images.

    Called again with the same arguments it goes on where it was stopped, and
    does nothing twice.

    Args:
        data (str): Folder of images, in any folders inside, or a config whose
            ``train_dataloader.dataset`` reads them.
        student (str): Name of the backbone. Defaults to ``'resnet18'``.
        teacher (str, optional): Folder or hub id of a diffusion model.
            Defaults to None: one of the images is trained first.
        out (str, optional): The output folder. Defaults to None:
            ``work_dirs/<name of data>_<student>``.
        labels (str, optional): Folder of labelled images, in one folder for
            each class, or in ``train/`` and ``val/`` of these. Defaults to
            None.
        size (int, optional): Side of the images, in pixels. Defaults to
            None: see :func:`training_size`.
        epochs (float, optional): Passes over the images in distillation.
            Defaults to None: 20, or as many as make 2,000 steps.
        val_share (float): Of the labelled images of each class, held out
            where there is no ``val/``. Defaults to 0.2.
        time (str): ``'fixed'``, at the time step that a look finds best, or
            ``'reinforced'``, by a policy that learns from the labels.
            Defaults to ``'fixed'``.
        flip (bool): Whether half of the images are flipped, left and right.
            Defaults to True.
        seed (int): Of all trainings; tap and time step do not depend on it.
            Defaults to 0.
        amp (bool): Whether the trainings are in mixed precision, float16 on
            a GPU and bfloat16 on a CPU. Defaults to False.

    Returns:
        Result: Where everything is.

    Raises:
        PlanError: If it cannot be done; nothing has been begun then.
        SystemExit: If it was stopped within a training.
    """
    guard_mmengine()
    # what is only timed is logged line by line, too
    MMLogger.get_instance('mmengine').setLevel('ERROR')
    name = osp.splitext(osp.basename(osp.abspath(data)))[0]
    plan = make_plan(Plan(
        data=osp.abspath(data), student=student,
        teacher=osp.abspath(teacher) if teacher and osp.exists(teacher)
        else teacher,
        out=osp.abspath(out or osp.join('work_dirs', f'{name}_{student}')),
        labels=labels and osp.abspath(labels), asked_size=size,
        epochs=epochs, val_share=val_share, time=time, flip=flip,
        seed=seed, amp=amp))
    console = Console()
    record = Record(plan.path('progress.json'))
    print_plan(console, plan, record.stages)
    stages = _Stages(plan, record, console)
    result = stages.run()
    console.print(f'[green]backbone[/] {escape(result.backbone)}\n'
                  f'[green]report[/]   {escape(result.report)}')
    return result


class _Stages:
    """What is done one after the other, each of it once.

    Args:
        plan (Plan): What is done.
        record (Record): What is done already.
        console (Console): Where it is said.
    """

    def __init__(self, plan: Plan, record: Record, console: Console) -> None:
        self.plan, self.record, self.console = plan, record, console

    def run(self) -> Result:
        """All of it."""
        plan, once = self.plan, self.record.once
        if plan.teacher is None:
            once('dpm', partial(self._train, dpm_config(plan), 'dpm'))
        teacher = teacher_config(plan)
        tap = default_tap(teacher)
        cfg = distill_config(plan, teacher, tap, 0)
        choice = once('choice', lambda: choose(
            cfg, tap, self._labelled(cfg), lambda things, what: track(
                things, what, transient=True)))
        self._say(f'tap {choice["tap"]}' + (
            f', t = {choice["t"]}' if plan.time == 'fixed' else
            f'; a policy chooses t, from near {choice["t"]}') +
            f': the best by {choice["rewarded"]}')
        cfg = distill_config(plan, teacher, choice['tap'], choice['t'])
        config, backbone = plan.path('config.py'), plan.path('backbone.pth')
        dump(cfg, config)
        weights = once('distill', partial(self._train, cfg, 'distill'))
        once('export', lambda: _export(weights, backbone))
        rows = self._compare(backbone) if plan.classes else []
        report = plan.path('report.html')
        write_report(report, plan, choice, rows, self.record.stages)
        self._say(summary(plan, choice, rows))
        return Result(backbone, config, report, choice['tap'], choice['t'],
                      rows)

    def _train(self, cfg: Any, stage: str, *above: str) -> str:
        title, folder = TITLES[stage], self.plan.path(*above, stage)
        self._say(f'{title}: {cfg.train_cfg.max_iters} steps; the log is in '
                  f'{folder}')
        return train(cfg, folder, title)

    def _labelled(self, cfg: Any) -> dict:
        """The images that a look may read the labels of."""
        if not self.plan.classes:
            return {}
        dataset = cfg.train_dataloader.dataset
        if 'datasets' in dataset:
            dataset = dataset.datasets[0].dataset
        return image_list(self.plan.list('labelled'), dataset.pipeline,
                          self.plan.classes)

    def _compare(self, backbone: str) -> List[dict]:
        right: Dict[str, List[int]] = {}
        for arm in ARMS:
            cfg = classifier_config(
                self.plan, arm, backbone if arm == 'distilled' else None)
            weights = self.record.once(arm, partial(
                self._train, cfg, arm, 'classifiers'))
            right[arm] = self.record.once(
                f'{arm}_tested', partial(answers, cfg, weights))
        return compared(right)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


def _export(checkpoint: str, out: str) -> str:
    weights, meta, _ = read_checkpoint(checkpoint)
    names = plain_names(weights, backbone_only=True)
    draft = out.replace('.pth', '.part.pth')
    write_plain(plain_weights(weights, names), draft, meta)
    os.replace(draft, out)
    return out
