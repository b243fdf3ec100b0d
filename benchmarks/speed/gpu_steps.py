"""The steps of a GPU session."""
from typing import NamedTuple


class Step(NamedTuple):
    """A command and its result.

    Attributes:
        name (str): Of the step, and of its result.
        minutes (float): About what it takes on a GPU of the H100 class.
        command (list[str]): Behind ``python``; ``{folder}`` is the step's
            own, which is kept while it is not finished.
        result (str): JSON file in the folder that it writes.
        least (float): Minutes without which it is not worth to begin.
        keeps_jobs (bool): It is a study, a plan of jobs in the same folder.
    """
    name: str
    minutes: float
    command: list
    result: str = 'result.json'
    least: float = 1.
    keeps_jobs: bool = False


CHOSEN = 'benchmarks/results/cifar10_16px_chosen.json'  # with that model


def all_steps(data, toy=False, dpm=None):
    """The steps in the order of their worth.

    Args:
        data (str): Folder of CIFAR-10's images.
        toy (bool): As small as can be, and on the CPU. Defaults to False.
        dpm (str, optional): Folder of the diffusion model that the study's
            choices were made with. Defaults to None: one is trained, and all
            is chosen anew.
    """
    device, keep = 'cpu' if toy else 'cuda', '{folder}'

    def throughput(pair, batch, minutes, *options):
        return Step(f'throughput_{pair}', minutes, [
            '-m', 'benchmarks.speed.throughput', '--device', device,
            '--pairs', pair, '--batch', batch, '--keep', keep,
            '--json', '{folder}/result.json', *options])

    def loading(*options):
        return Step('data_loading', 2, [
            '-m', 'benchmarks.speed.data_loading', '--device', device,
            '--data', data, '--json', '{folder}/result.json',
            *options], least=2.)

    def cifar10(*options):
        return Step('cifar10', 20, [
            '-m', 'benchmarks.studies.cifar10', '--data', data, '--out', keep,
            *(['--dpm', dpm, '--chosen', CHOSEN] if dpm else []),
            *options], 'report.json', keeps_jobs=True)

    def tests(*options):
        return Step('gpu_tests', 3, [
            '-m', 'benchmarks.speed.gpu_tests', keep, *options])

    if toy:
        return [
            tests('tests/test_benchmarks/test_lib/test_paired.py'),
            throughput('toy', '2', 2, '--rounds', '2', '--warmup', '1',
                       '--switches', '{}'),
            loading('--images', '64', '--rounds', '2', '--workers', '1'),
            cifar10('--size', 'toy', '--labels', '2', '--seeds', '2',
                    '--arms', 'scratch', 'uniform', 'reinforced'),
        ]
    return [
        tests(),
        throughput('cifar10', '128', 5),
        throughput('tiny_imagenet', '64', 6),
        throughput('celebahq', '16', 6),
        loading('--images', '40000', '--workers', '12'),
        # the seeds one after another: a part of it is worth something
        cifar10('--size', '16px', '--seeds', '8', '--processes', '16',
                '--threads', '1', '--fill'),
    ]
