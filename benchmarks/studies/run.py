"""The order in which a study's jobs are run, by one process or several."""
import os
import subprocess
import sys
import time

from benchmarks.lib.plan import ROOT, start

WAIT = 0.5  # seconds until it is asked again whether others are done
WORKER = 'REPFUSION_STUDY_WORKER'  # in the environment of a helping process


class TimeIsUp(Exception):
    """No further training is to begin."""


class Queue:
    """Runs trainings, beside other processes that run the same ones.

    Args:
        end (float, optional): Of ``clock``: nothing begins after it.
        advance (Callable): Takes the number of trainings left and of all.
        clock (Callable): Seconds.
        sleep (Callable): Waits so many.
    """

    def __init__(self, end=None, advance=lambda left, number: None,
                 clock=time.monotonic, sleep=time.sleep):
        self.end, self.advance = end, advance
        self.clock, self.sleep = clock, sleep

    def finish(self, needed, meanwhile=()):
        """Run all of these; what others are at is waited for.

        Args:
            needed (Sequence[Training]): To be finished.
            meanwhile (Sequence[Training]): To be run instead of waiting, as
                far as that goes.

        Raises:
            TimeIsUp: If some are left to be run at the end.
        """
        left, spare = list(needed), list(meanwhile)
        while left:
            before = len(left)
            left = [job for job in left if not self._try(job)]
            self.advance(len(left), len(needed))
            if len(left) < before or self._one_of(spare):
                continue
            if left:
                self.sleep(WAIT)

    def _one_of(self, spare):
        """Run the next one that nobody runs."""
        spare[:] = [job for job in spare if not job.is_finished]
        return any(self._try(job) for job in spare)

    def _try(self, job):
        """Run a training; False if another process is at it."""
        if job.is_finished:
            return True
        if self.end is not None and self.clock() > self.end:
            raise TimeIsUp
        try:
            job.result()
        except BlockingIOError:
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
    from benchmarks.studies.study_report import write_report
    is_worker = WORKER in os.environ
    helpers = [] if is_worker else begin_helpers(args)
    console, progress = start(args.study.name, args.threads)
    study = make_study(args)
    with progress:
        bar = progress.add_task('diffusion model, tap and t', total=None)
        study.prepare()
        study.waits = False
        for what, needed, meanwhile in phases(study):

            def advance(left, number, what=what, needed=needed):
                progress.update(bar, description=what, total=number,
                                completed=number - left)
                if what == ARMS and not is_worker:
                    write_report(study, finished(study))

            try:
                Queue(end, advance).finish(needed, meanwhile)
            except TimeIsUp:
                progress.console.print(f'{what}: the time is up, the same '
                                       'command goes on')
                break
        else:
            what = None
    for helper in helpers:
        helper.wait()
    if is_worker:
        return
    if what in (None, ARMS):
        write_report(study, finished(study), console)
    if finish and what is None:
        finish(study)


ARMS = 'arms'


def phases(study):
    """What is to be finished in turn: name, trainings, others meanwhile."""
    args, choices = study.args, study.choices
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    # what does not wait for a choice
    stage_1 = {}
    for seed in seeds:
        for arm in args.arms:
            if arm.startswith('scratch') or arm == 'fixed':
                continue
            for labels in args.labels if arm in study.needs_labels \
                    else [None]:
                job = study.distill(arm, labels, seed)
                stage_1[job.name] = job
    stage_1 = list(stage_1.values())
    yield ('learning rates and lengths', trials(choices.starts.values()),
           stage_1)
    yield 'fixed t', trials([choices.times]), stage_1
    # seed by seed, so that a run that is stopped has whole seeds
    yield ARMS, [study.finetune(arm, labels, seed) for seed in seeds
                 for labels in args.labels for arm in args.arms], []


def trials(groups):
    """Of the choices that there are; the long trainings first."""
    return [job for group in groups if len(group) > 1
            for job in reversed(list(group.values()))]


def finished(study):
    """The scores so far: by number of labels and arm, then by seed."""
    args, scores = study.args, {}
    for labels in args.labels:
        for arm in args.arms:
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                job = study.finetune(arm, labels, seed)
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
