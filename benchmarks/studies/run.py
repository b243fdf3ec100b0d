"""The order in which a study's jobs are run, by one process or several."""
import os
import subprocess
import sys
import time

from benchmarks.lib.plan import ROOT, start
from benchmarks.studies.study_report import write_report

WAIT = 0.5  # seconds until it is asked again whether others are done
WORKER = 'REPFUSION_STUDY_WORKER'  # in the environment of a helping process


class TimeIsUp(Exception):
    """No further training is to begin."""


class Queue:
    """Runs trainings, beside other processes that run the same ones.

    Args:
        end (float, optional): Of ``clock``: nothing begins after it.
        clock (Callable): Seconds.
        sleep (Callable): Waits so many.
    """

    def __init__(self, end=None, clock=time.monotonic, sleep=time.sleep):
        self.end, self.clock, self.sleep = end, clock, sleep

    def finish(self, needed, meanwhile=(), advance=lambda left: None):
        """Run all of these; what others are at is waited for.

        Args:
            needed (Sequence[Training]): To be finished.
            meanwhile (Sequence[Training]): To be run instead of waiting, as
                far as that goes.
            advance (Callable): Takes how many are left, at first and as they
                become fewer.

        Raises:
            TimeIsUp: If some are left to be run at the end.
        """
        left, before = list(needed), None
        while True:
            left = [job for job in left if not job.is_finished]
            if len(left) != before:
                before = len(left)
                advance(before)
            if not left:
                return
            if not (self._one_of(left) or self._one_of(meanwhile)):
                self.sleep(WAIT)

    def _one_of(self, jobs):
        """Run the first that nobody else runs; whether there was one."""
        return any(self._run(job) for job in jobs if not job.is_finished)

    def _run(self, job):
        if self.end is not None and self.clock() > self.end:
            raise TimeIsUp
        try:
            job.result()
        except BlockingIOError:  # another process is at it
            return False
        return True


def run_study(args, make_study, finish=None):
    """Run all jobs of a study, with a bar, and report as they end.

    Args:
        args (argparse.Namespace): Of :func:`parse`.
        make_study (Callable): Gives the study.
        finish (Callable, optional): What else is made of the study at the
            end, such as pictures.
    """
    end = args.minutes and time.monotonic() + 60 * args.minutes
    os.chdir(ROOT)  # the configs name their files from here
    is_worker = WORKER in os.environ
    helpers = [] if is_worker else begin_helpers(args)
    console, progress = start(args.study.name, args.threads)
    study, arms = make_study(args), None
    with progress:
        bar = progress.add_task('diffusion model, tap and t', total=None)

        def run(what, needed, meanwhile=()):
            def advance(left):
                progress.update(bar, description=what, total=len(needed),
                                completed=len(needed) - left)
                if arms and not is_worker:
                    write_report(study, finished(arms))

            Queue(end).finish(needed, meanwhile, advance)

        study.prepare()
        study.waits = False
        try:
            others = stage_1(study)
            run('learning rates and lengths',
                trials(study.choices.starts.values()), others)
            run('fixed t', trials([study.choices.times]), tested(
                study, [arm for arm in args.arms if arm != 'fixed']).values())
            arms = tested(study, args.arms)
            run('arms', list(arms.values()))
        except TimeIsUp:
            finish = None
            progress.console.print('the time is up, the same command goes on')
    for helper in helpers:
        helper.wait()
    if is_worker:
        return
    if arms:
        write_report(study, finished(arms), console)
    if finish:
        finish(study)


def stage_1(study):
    """The distillations that wait for no choice."""
    found = {study.distill(arm, labels if arm in study.needs_labels else None,
                           seed): None
             for labels, arm, seed in cells(study)
             if arm != 'fixed' and not arm.startswith('scratch')}
    return list(found)


def tested(study, arms):
    """The fine-tunings of some arms, by labels, arm and seed."""
    return {(labels, arm, seed): study.finetune(arm, labels, seed)
            for labels, arm, seed in cells(study) if arm in arms}


def cells(study):
    """Labels, arm and seed of all that is reported.

    Seed by seed, so that a run that is stopped has whole seeds.
    """
    args = study.args
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for labels in args.labels:
            for arm in args.arms:
                yield labels, arm, seed


def trials(groups):
    """Of the choices that there are; the long trainings first."""
    return [job for group in groups if len(group) > 1
            for job in reversed(list(group.values()))]


def finished(arms):
    """The scores so far: by number of labels and arm, then by seed."""
    scores = {}
    for (labels, arm, seed), job in arms.items():
        if job.is_finished:
            scores.setdefault((labels, arm), {})[seed] = job.result()
    return scores


def begin_helpers(args):
    """The other processes: the same command, which needs no bar."""
    command = [sys.executable, '-m', sys.modules['__main__'].__spec__.name,
               *sys.argv[1:]] if args.processes > 1 else []
    os.makedirs(args.out, exist_ok=True)
    helpers = []
    for index in range(1, args.processes):
        with open(os.path.join(args.out, f'helper_{index}.txt'), 'w') as log:
            helpers.append(subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT,
                env={**os.environ, WORKER: str(index)}))
    return helpers
