"""What is worth measuring on one CUDA GPU, in slices of some minutes.

The steps come in the order of their worth: the tests that need a GPU, speed
and memory of the three pairs, data loading, CIFAR-10 at the published
architectures. What is finished is kept in --work and not done again; what the
end of a slice cuts off goes on in the next, with the same command; what failed
is tried again after all else. OUT gets session.json, and every result so far
as an archive in parts of at most 15 MiB: cat OUT/results.tar.gz.* | tar xz

Only Python's own library is needed before the wheels that gpu_wheels.sh
gathered are installed, into a folder of --work.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.lib.plan import ROOT, Plan
from benchmarks.lib.versions import without_folders
from benchmarks.speed.gpu_results import write_results
from benchmarks.speed.gpu_setup import check, install, unpack
from benchmarks.speed.gpu_steps import all_steps

RESERVED = 25  # seconds of a slice, for stopping and for the results


class Failed(Exception):
    """A step's command did not end well."""


class Session(Plan):
    """Some steps within a slice of time.

    Args:
        work (Path): Where everything is kept between slices.
        steps (Sequence[Step]): In the order of their worth.
        seconds (float): Of this slice.
        environment (dict): Of the commands.
        clock (Callable): Seconds; to be replaced in tests.
    """

    def __init__(self, work, steps, seconds, environment=None,
                 clock=time.monotonic):
        super().__init__(str(work))
        self.steps, self.clock = steps, clock
        self.environment = environment
        self.end = clock() + seconds

    def run(self, tell=print, after_each=lambda: None):
        """Run what is left, as far as the time reaches.

        Args:
            tell (Callable): Takes a line of what happens.
            after_each (Callable): Called as a step has ended.
        """
        for step in sorted(
                self.left(), key=lambda step: self._failure(step).exists()):
            if self._remaining() < 60 * step.least:
                continue  # a shorter one may be behind it
            tell(f'{step.name}: {self.state(step)["state"]}; takes about '
                 f'{step.minutes:g} minutes in all')
            start = self.clock()
            try:
                self.once(step.name, step.name, self._inputs(step),
                          lambda step=step: self._result(step))
            except subprocess.TimeoutExpired:
                pass
            except Failed as error:
                self._failure(step).write_text(str(error))
            else:
                self._failure(step).unlink(missing_ok=True)
            finally:
                took = self.folder(step) / 'seconds'
                before = float(took.read_text()) if took.exists() else 0
                took.write_text(str(before + self.clock() - start))
            tell(f'{step.name}: {self.state(step)["state"]} after '
                 f'{(self.clock() - start) / 60:.1f} minutes')
            after_each()

    def left(self):
        """The steps that are not done."""
        return [step for step in self.steps
                if self.state(step)['state'] != 'done']

    def folder(self, step):
        """Where a step writes."""
        return self.jobs / step.name

    def state(self, step):
        """``state``, ``minutes`` that it took so far, ``error`` if it failed.

        Args:
            step (Step): Of this session.
        """
        took = self.folder(step) / 'seconds'
        if not took.exists():
            return dict(state='not begun', minutes=0.)
        minutes = round(float(took.read_text()) / 60, 1)
        if self.finished(step.name, self.key(self._inputs(step))):
            return dict(state='done', minutes=minutes)
        if self._failure(step).exists():
            return dict(state='failed', minutes=minutes,
                        error=self._failure(step).read_text())
        return dict(state='stopped', minutes=minutes)

    def progress(self, step):
        """How far a step came that keeps its parts as a :class:`Plan`.

        Args:
            step (Step): Of this session.

        Returns:
            str: Such as ``', 12 parts done, dpm at iter_2500'``.
        """
        jobs = self.folder(step) / 'jobs'
        done = {path.stem for path in jobs.glob('*.json')}
        under_way = [
            f'{path.parent.name} at {Path(path.read_text()).stem}'
            for path in sorted(jobs.glob('*/last_checkpoint'))
            if path.parent.name not in done]
        counted = [f'{len(done)} parts done'] if done else []
        return ''.join(f', {text}' for text in counted + under_way)

    def _remaining(self):
        return self.end - self.clock() - RESERVED

    def _failure(self, step):
        return self.jobs / f'{step.name}.failed'

    def _forget_others(self, name, key):
        """A study's own jobs know what they depend on: they are kept."""
        step = next(step for step in self.steps if step.name == name)
        if not step.keeps_jobs:
            super()._forget_others(name, key)
            return
        folder = self.folder(step)
        folder.mkdir(exist_ok=True)
        mark = folder / 'job.key'
        if not (mark.exists() and mark.read_text() == key):
            (folder / step.result).unlink(missing_ok=True)  # of other code
            mark.write_text(key)

    @staticmethod
    def _inputs(step):
        return [json.dumps(step.command)]

    def _result(self, step):
        folder = self.folder(step).absolute()
        command = [part.replace('{folder}', str(folder))
                   for part in step.command]
        log = folder / 'output.txt'
        code = run_for(command, log, self._remaining(), self.environment)
        if code:
            raise Failed(f'exit status {code}; {log.name} ends:\n'
                         + without_folders(
                             log.read_text(errors='replace'))[-3000:])
        return json.loads((folder / step.result).read_text())


def run_for(command, log, seconds, environment=None):
    """Run a command of Python's; its exit status.

    When the time is over, or this process is stopped, all that the command
    has started is ended with it.

    Raises:
        subprocess.TimeoutExpired: When the time was over.
    """
    with open(log, 'a') as file:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=file,
            stderr=subprocess.STDOUT, env=environment, cwd=ROOT,
            process_group=0)  # no session: whoever ends ours ends it too
        try:
            return process.wait(seconds)
        finally:
            end_group(process)


def end_group(process):
    """End a process and all its descendants: what they have written stays."""
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            pass


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder for what is to be '
                        'taken along')
    parser.add_argument('--minutes', type=float, default=9.,
                        help='of this slice (default: %(default)s)')
    parser.add_argument('--data', type=Path,
                        default='data/cifar10_images.tar.gz',
                        help='CIFAR-10, train/<class>/*.jpg and test/<class>/'
                        '*.jpg: a folder, or a tar of it (default: '
                        '%(default)s)')
    parser.add_argument('--dpm', type=Path, help='the diffusion model that '
                        'the choices for CIFAR-10 were made with, which are '
                        'taken then (default: train one, and choose anew)')
    parser.add_argument('--wheels', type=Path,
                        default='work_dirs/gpu_wheels',
                        help='folder of what gpu_wheels.sh gathered; may be '
                        'absent (default: %(default)s)')
    parser.add_argument('--work', type=Path,
                        default='work_dirs/gpu_session',
                        help='folder that is kept between the slices '
                        '(default: %(default)s)')
    parser.add_argument('--steps', nargs='+', metavar='STEP',
                        help='only these of '
                        + ', '.join(step.name for step in all_steps('')))
    parser.add_argument('--rehearse', action='store_true',
                        help='everything at toy size, on the CPU')
    args = parser.parse_args(argv)
    for name in ('out', 'data', 'wheels', 'work'):
        setattr(args, name, getattr(args, name).absolute())
    known = [step.name for step in all_steps('', args.rehearse)]
    for name in args.steps or ():
        if name not in known:
            parser.error(f'--steps: no {name!r}, the steps are '
                         + ', '.join(known))
    return args


def main(argv=None):
    start = time.monotonic()
    args = parse_args(argv)
    os.chdir(ROOT)
    sys.stdout.reconfigure(line_buffering=True)  # to a file, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    site = args.work / 'site'
    args.work.mkdir(parents=True, exist_ok=True)
    install(args.wheels, site)
    sys.path.insert(0, str(site))
    environment = {**os.environ, 'HF_HUB_OFFLINE': '1', 'PYTHONPATH':
                   os.pathsep.join([str(site), str(ROOT), *filter(
                       None, [os.environ.get('PYTHONPATH')])])}
    check(environment, args.work, 'cpu' if args.rehearse else 'cuda')
    steps = all_steps(str(unpack(args.data, args.work)), args.rehearse,
                      args.dpm and str(args.dpm.absolute()))
    session = Session(
        args.work,
        [step for step in steps if not args.steps or step.name in args.steps],
        60 * args.minutes - (time.monotonic() - start), environment)

    def results():
        write_results(session, args.out)

    try:
        session.run(after_each=results)
    except KeyboardInterrupt:
        print('stopped')
    results()
    left = session.left()
    for step in left:
        state = session.state(step)
        print(f'left: {step.name}, {state["state"]} after '
              f'{state["minutes"]:g} of about {step.minutes:g} minutes'
              f'{session.progress(step)}')
        print(state.get('error', ''), end='')
    print('the same command goes on' if left else 'nothing is left')
    return int(any('error' in session.state(step) for step in left))


if __name__ == '__main__':
    sys.exit(main())
