"""Processes that train together, step by step as they are asked."""
import contextlib
import json
import os
import subprocess
import sys
import time

from benchmarks.lib.plan import ROOT
from benchmarks.speed.pairs import PAIRS
from benchmarks.speed.ways import Ways

REPLY = 'reply: '


class Job:
    """Some processes that train together, and wait between their steps.

    Args:
        world (int): Number of processes.
        args (Namespace): The command line.
        folder (Path): For what they leave behind.
    """

    def __init__(self, world, args, folder):
        self.folder = folder / str(world)
        self.folder.mkdir()
        self.processes = [subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.speed.scaling', '--pair',
             args.pair, '--batch', str(args.batch), '--process', str(rank),
             str(world), str(self.folder)], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=open(self.folder / f'{rank}.log', 'w'),
            env={**os.environ, 'OMP_NUM_THREADS': '1'})
            for rank in range(world)]

    def ask(self, name, *arguments):
        """Have all processes call a method; returns what the first did."""
        for process in self.processes:
            process.stdin.write(json.dumps([name, *arguments]) + '\n')
            process.stdin.flush()
        return [self._reply(rank) for rank in range(len(self.processes))][0]

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def _reply(self, rank):
        for line in self.processes[rank].stdout:
            if line.startswith(REPLY):
                return json.loads(line[len(REPLY):])
        log = (self.folder / f'{rank}.log').read_text()
        raise SystemExit(f'process {rank} of {len(self.processes)} died:\n'
                         + log[-3000:])


class Process:
    """One of a job's processes.

    Args:
        rank (int): Which.
        world (int): Of how many.
        folder (str): Where they meet.
        args (Namespace): The command line.
    """

    def __init__(self, rank, world, folder, args):
        import torch
        from mmengine.model import MMDistributedDataParallel
        from mmengine.optim import OptimWrapper
        torch.set_num_threads(1)
        self.dist = torch.distributed
        self.dist.init_process_group(
            'gloo', init_method=f'file://{folder}/store', rank=rank,
            world_size=world)
        self.ways = Ways(PAIRS[args.pair], 'cpu', args.batch, 'train_step')
        self.model = MMDistributedDataParallel(self.ways.model,
                                               broadcast_buffers=False)
        self.optimizer = OptimWrapper(torch.optim.SGD(
            self.model.parameters(), **self.ways.sgd))
        self._count()

    def seconds(self, exchange, steps):
        """What some steps take, with or without exchanging gradients."""
        self.dist.barrier()
        start = time.perf_counter()
        with contextlib.nullcontext() if exchange else self.model.no_sync():
            for _ in range(steps):
                self.model.train_step(self.ways.data(), self.optimizer)
        self.dist.barrier()
        return time.perf_counter() - start

    def messages(self):
        """Bytes of each message of a step."""
        self.gradients.clear()
        self.others.clear()
        self.seconds(True, 1)
        return dict(
            gradients=self.gradients, others=self.others,
            parameters=sum(p.nbytes for p in self.model.parameters()
                           if p.requires_grad))

    def operations(self):
        """Floating-point operations of a step for each image."""
        from torch.utils.flop_counter import FlopCounterMode
        with FlopCounterMode(display=False) as counter:
            self.ways.model.train_step(self.ways.data(), self.optimizer)
        return counter.get_total_flops() / self.ways.batch

    def _count(self):
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import (
            allreduce_hook,
        )

        from repfusion_mm.models import all_processes
        self.gradients, self.others = [], []
        all_reduce = all_processes.all_reduce

        def send(state, bucket):
            self.gradients.append(bucket.buffer().nbytes)
            return allreduce_hook(state, bucket)

        def send_other(tensor):
            self.others.append(tensor.nbytes)
            return all_reduce(tensor)

        self.model.register_comm_hook(None, send)
        all_processes.all_reduce = send_other


def serve(args):
    """Does what it is asked on its standard input."""
    rank, world, folder = args.process
    process = Process(int(rank), int(world), folder, args)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(REPLY + json.dumps(getattr(process, name)(*arguments)),
              flush=True)
