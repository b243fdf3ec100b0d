"""A study as a plan of small jobs, each run once."""
import contextlib
import fcntl
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import time
import warnings
from pathlib import Path

from benchmarks.lib.code_digest import code_digest, package_digest

ROOT = Path(__file__).resolve().parents[2]


class Plan:
    """Runs jobs, and keeps their results and times in ``<out>/jobs``.

    A job that is found finished, with the same inputs, is not run again, so a
    study that was stopped goes on where it was. The code is an input of every
    job: what is behind its config and the tools that it runs, or, without a
    config, all of the package. Several processes may share a folder: a job
    that one of them runs is waited for by the others, or, where ``waits`` is
    False, is a BlockingIOError to them.

    Args:
        out (str): Folder of the study.
        *inputs (bytes): What else every job depends on.
        records (Path, optional): The ``<out>/records.jsonl`` of an earlier
            machine: what it holds with the same inputs is not run again.
    """

    waits = True

    def __init__(self, out, *inputs, records=None):
        self.out = Path(out)
        self.jobs = self.out / 'jobs'
        self.jobs.mkdir(parents=True, exist_ok=True)
        self.records = {(found['name'], found['key']): found
                        for found in map(json.loads, _lines(records))}
        digest = hashlib.sha256()
        for one in inputs:
            digest.update(one)
        self.inputs = digest.hexdigest()
        self._jobs = {}  # stage and seconds, by name

    @property
    def seconds(self):
        """Seconds that the jobs of each stage took."""
        totals = {}
        for stage, seconds in self._jobs.values():
            totals[stage] = totals.get(stage, 0) + seconds
        return totals

    def once(self, name, stage, inputs, run, config=None, tools=(),
             before=None, record=False):
        """Run a job, or take its result if it was run with these inputs.

        Args:
            name (str): Of the job.
            stage (str): Its seconds are counted under this name.
            inputs (Sequence[str]): What it depends on beside its config, such
                as the keys of the jobs that it starts from.
            run (Callable): The job; what it returns fits into JSON.
            config (str, optional): The text of the config that it runs. None
                for a job that may depend on any code, such as a test run.
            tools (Sequence[str]): Those of :func:`tool` that it runs on the
                config.
            before (Callable, optional): Runs the job that it starts from, if
                it is not finished; ``run`` is given what that returns.
            record (bool): Whether the result says all by itself, and is kept
                in ``<out>/records.jsonl``, too. Defaults to False.

        Returns:
            tuple: The result, and the key of the job's inputs.
        """
        key = self.key(inputs, config, tools)
        try:
            with locked(self.jobs / f'{name}.lock', self.waits):
                found = self.finished(name, key) or self._run(
                    name, key, run, before)
        except BlockingIOError:  # it may be at no more than looking it up
            found = self.finished(name, key)
            if not found:
                raise
        if record:
            self._record(dict(name=name, **found))
        self.took(name, stage, found['seconds'])
        return found['result'], key

    def _run(self, name, key, run, before):
        """The record of a job that nobody else runs."""
        given = [before()] if before else []
        self._forget_others(name, key)
        start = time.time()
        with quiet(self.out / 'log.txt'):
            result = run(*given)
        found = dict(key=key, seconds=time.time() - start, result=result)
        partial = self.jobs / f'{name}.partial'
        partial.write_text(json.dumps(found))
        os.replace(partial, self.jobs / f'{name}.json')
        return found

    def key(self, inputs, config=None, tools=()):
        """What stands for a job's inputs, the code among them."""
        if config is None:
            code = ['', package_digest()]
        else:
            code = [config, code_digest(config, *map(tool_path, tools))]
        return hashlib.sha256('\n'.join(
            [*inputs, self.inputs, *code]).encode()).hexdigest()

    def finished(self, name, key):
        """The record of a job that was run with this key, or None."""
        record = self.jobs / f'{name}.json'
        found = json.loads(record.read_text()) if record.exists() else None
        if not (found and found['key'] == key):
            found = self.records.get((name, key))
        return found and {part: found[part]
                          for part in ('key', 'seconds', 'result')}

    def took(self, name, stage, seconds):
        """Count the seconds of a job, once."""
        self._jobs[name] = stage, seconds

    def work_dir(self, name):
        """The folder of a job's training: empty, or as a stopped one left it.

        Args:
            name (str): Of the job.

        Returns:
            tuple: The folder, and the arguments with which to go on in it.
        """
        folder = self.jobs / name
        stopped = (folder / 'last_checkpoint').exists()
        return folder, ['--resume'] if stopped else []

    def _record(self, found):
        path, line = self.out / 'records.jsonl', json.dumps(found)
        with locked(path.with_suffix('.lock')):
            if line not in _lines(path):
                with open(path, 'a') as file:
                    file.write(line + '\n')

    def _forget_others(self, name, key):
        """Keep what a stopped run of the very same job left, and no more."""
        folder = self.jobs / name
        mark = folder / 'job.key'
        if not (mark.exists() and mark.read_text() == key):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            mark.write_text(key)


def _lines(path):
    """Of a file that may not be there."""
    return path.read_text().splitlines() if path and path.exists() else []


@contextlib.contextmanager
def locked(path, waits=True):
    """Lock a file, which ends with the process, too.

    Args:
        path (Path): The file.
        waits (bool): Until no other process has locked it. Defaults to True.

    Raises:
        BlockingIOError: If another has, and it is not waited for.
    """
    with open(path, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        yield


def start(name, threads):
    """Quieten MMEngine, and get a console with a bar for the jobs.

    Args:
        name (str): Of the study's logger.
        threads (int, optional): Of this process.

    Returns:
        tuple: rich's console, and a progress bar on it.
    """
    import torch
    from mmengine.logging import MMLogger
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    if threads:
        torch.set_num_threads(threads)
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    MMLogger.get_instance(name, log_level='ERROR')
    console = Console()
    return console, Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console)


@contextlib.contextmanager
def quiet(log):
    """Keep what the Runner prints in a file: the terminal has a bar."""
    with open(log, 'a') as file, contextlib.redirect_stdout(file), \
            contextlib.redirect_stderr(file), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def tool_path(name):
    """The script under tools/ of that name."""
    return ROOT / 'tools' / f'{name}.py'


def tool(name):
    """The main function of a script under tools/, as users run it."""
    path = tool_path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
