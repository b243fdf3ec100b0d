"""What a run computes on: GPUs, or CPUs where these are meant.

Nothing here imports torch before :func:`find_device` is called: a GPU can
only be hidden from MMEngine before that is imported.
"""
import glob
import os
import subprocess
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any, Optional

# what CUDA_VISIBLE_DEVICES begins with where no GPU is wanted; Slurm gives
# the last one to a job that asked for none
NO_GPUS = ('', '-1', 'nodevfiles')
KERNEL_MODULE = Path('/proc/driver/nvidia/version')
OLD_DRIVER = (
    ' If the driver is too old for it, install a newer one, or the same torch '
    'for an older CUDA (https://pytorch.org/get-started names the command).')


def find_device(asked: Optional[str] = None) -> str:
    """What MMEngine will compute on. To be called before it is imported.

    MMEngine takes the CPU where torch finds no GPU, also where torch should
    have found one: a torch that is too new for the GPU's driver, or was built
    without CUDA, would train on the CPU without a word.

    Args:
        asked (str, optional): ``'cuda'``, ``'cpu'``, or None for a GPU where
            there is one. ``CUDA_VISIBLE_DEVICES=-1`` asks for the CPU, too.

    Returns:
        str: The device's type, as torch spells it.

    Raises:
        SystemExit: If there is a GPU that torch cannot use and nobody asked
            for the CPU, or if what was asked for is not there. Of several
            processes on a machine the first one says so.
    """
    if asked == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
    with warnings.catch_warnings():  # torch's on the driver, of each process
        warnings.filterwarnings('ignore', 'CUDA initialization|.*NVML')
        from mmengine.device import get_device
        device = get_device()
    if asked == 'cpu' and device != 'cpu':
        _stop(f'--device cpu, but MMEngine has taken {device!r}; GPUs are '
              'hidden from it by CUDA_VISIBLE_DEVICES=-1')
    if asked == 'cuda' and device != 'cuda':
        _stop(f'--device cuda, but {_why_no_cuda(_gpu())}')
    lost = lost_gpu() if device == 'cpu' else None
    if lost is not None:
        _stop(f'{lost} To compute on the CPU, add `--device cpu` or set '
              'CUDA_VISIBLE_DEVICES=-1')
    return device


def lost_gpu() -> Optional[str]:
    """A GPU that is there and that torch cannot use, with what to do.

    Warns where there is only the driver, as in a container that was given no
    GPU.

    Returns:
        str, optional: None without one, or where the CPU is meant.
    """
    import torch
    if torch.cuda.is_available() or _cpu_is_meant():
        return None
    gpu = _gpu()
    if gpu is not None:
        return _why_no_cuda(gpu)
    if KERNEL_MODULE.exists() and _is_first():
        warnings.warn('this machine has a driver of NVIDIA\'s, but shows '
                      'this process no GPU (a container is given them by '
                      '`--gpus all`): computing on the CPU', stacklevel=2)
    return None


def start_gloo_on_cpu(cfg: Any) -> None:
    """Let ``--launcher pytorch`` work on a CPU.

    MMEngine's launcher calls CUDA. On a CPU the process group is therefore
    started here, with gloo, and the model is wrapped without device ids.
    Nothing is done with a GPU or without a launcher.

    Args:
        cfg (Config): The run's config; its ``model_wrapper_cfg`` is set.

    Raises:
        ValueError: If its ``sync_bn`` asks for what only a GPU can do.
    """
    import torch
    if cfg.launcher != 'pytorch' or torch.cuda.is_available():
        return
    if cfg.get('sync_bn'):
        raise ValueError(f'`sync_bn` is {cfg.sync_bn!r}, but synchronised '
                         'batch norms need GPUs; on a CPU add `--cfg-options '
                         'sync_bn=None`')
    torch.distributed.init_process_group(
        'gloo', timeout=distributed_timeout(cfg))
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **cfg.get('model_wrapper_cfg', {}),
        'device_ids': None}


def distributed_timeout(cfg: Any) -> Optional[timedelta]:
    """How long a process waits for another one, before it is an error.

    Args:
        cfg (Config): The run's config: ``env_cfg.dist_cfg.timeout``, in
            seconds.

    Returns:
        timedelta, optional: None if it says nothing, for torch's own.
    """
    seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    return None if seconds is None else timedelta(seconds=seconds)


def pin_for_gpus_only(cfg: Any) -> None:
    """Take ``pin_memory`` out of the dataloaders where there is no GPU.

    Pinned memory is what a GPU copies from; without one torch warns.

    Args:
        cfg (Config): The run's config.
    """
    import torch
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader and not torch.cuda.is_available():
            loader.pop('pin_memory', None)


def _cpu_is_meant() -> bool:
    """Whether CUDA_VISIBLE_DEVICES hides all GPUs."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    return visible is not None and \
        visible.split(',')[0].strip().lower() in NO_GPUS


def _gpu() -> Optional[str]:
    """A GPU of this machine that torch should find, in words."""
    try:
        found = subprocess.run(
            ['nvidia-smi', '--query-gpu=name,driver_version',
             '--format=csv,noheader'], capture_output=True, text=True,
            timeout=60)
        if found.returncode == 0 and ',' in found.stdout:
            name, driver = found.stdout.splitlines()[0].rsplit(',', 1)
            return f'a GPU ({name.strip()}, driver {driver.strip()})'
    except (OSError, subprocess.TimeoutExpired):
        pass  # not everybody who has the driver has this program
    nodes = glob.glob('/dev/nvidia[0-9]*')
    import torch
    if torch.version.hip:  # an integrated GPU of AMD's has this node, too
        nodes += glob.glob('/dev/kfd')
    return f'a GPU ({nodes[0]})' if nodes else None


def _why_no_cuda(gpu: Optional[str]) -> str:
    """What torch says about a GPU, and what to do about it."""
    import torch
    built_for = torch.version.cuda or torch.version.hip
    there = f'there is {gpu}, but ' if gpu else ''
    if built_for is None:
        return (f'{there}torch {torch.__version__} was built without CUDA: '
                'install one that was (https://pytorch.org/get-started).')
    try:
        torch.cuda.init()
        reason = 'nothing'
    except Exception as error:  # of several types
        reason = ' '.join(str(error).split()).rstrip('.')
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is not None:
        reason += f'; CUDA_VISIBLE_DEVICES is {visible!r}'
    remedy = OLD_DRIVER if gpu else ''
    return (f'{there}torch {torch.__version__}, built for CUDA {built_for}, '
            f'finds none: {reason}.{remedy}')


def _is_first() -> bool:
    """Whether this is the first process of its machine."""
    return all(os.environ.get(name, '0') == '0' for name in (
        'LOCAL_RANK', 'SLURM_LOCALID', 'OMPI_COMM_WORLD_LOCAL_RANK'))


def _stop(message: str) -> None:
    if not _is_first():
        time.sleep(60)  # the first one's end ends this one, unsaid
    raise SystemExit(message)
