"""Runs tools/train.py in processes that begin with everything imported.

Reads jobs from stdin, a line of JSON each: the ``argv`` of the tool, a
``log`` to write to, the folder to run in, and the environment of each process.
Answers with the processes' exit codes: minus the signal of one that was
killed, null of one that hung.
"""
import importlib.util
import json
import os
import signal
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def preload():
    """Import what a training of the digits needs."""
    import mmpretrain.datasets
    import mmpretrain.engine
    import mmpretrain.evaluation
    import mmpretrain.models
    import mmpretrain.visualization  # noqa: F401
    import sklearn.datasets  # noqa: F401

    from repfusion_mm.registry import HOOKS, MODELS
    for registry in (HOOKS, MODELS):
        registry.import_from_location()
    from diffusers import DDPMScheduler, UNet2DModel  # noqa: F401
    from mmengine.config import config

    # setting a config prettily takes a third of such a short run
    config.FormatCode = lambda text, **_: (text, True)
    spec = importlib.util.spec_from_file_location(
        'train', ROOT / 'tools/train.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def start(tool, argv, log, cwd, env):
    """One training in a process of its own."""
    process = os.fork()
    if process:
        return process
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (0, 1, 2):
        os.dup2(file, stream)
    os.environ.update(env)
    os.chdir(cwd)
    try:
        tool.main(argv)
    except SystemExit as end:
        sys.exit(end.code)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


def end_of(processes):
    """Exit codes; a process that was stopped is killed behind the others."""
    codes = {}
    while len(codes) < len(processes):
        process, status = os.waitpid(-1, os.WUNTRACED)
        codes[process] = None if os.WIFSTOPPED(status) else \
            os.waitstatus_to_exitcode(status)
    for process, code in codes.items():
        if code is None:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    return [codes[process] for process in processes]


def main():
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # some imports print
    tool = preload()
    print('ready', file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        processes = [start(tool, job['argv'], job['log'], job['cwd'], env)
                     for env in job['env']]
        codes = end_of(processes)
        print(json.dumps(codes), file=answers, flush=True)


if __name__ == '__main__':
    main()
