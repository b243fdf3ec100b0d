"""Several processes on a machine without a GPU."""
import torch
from mmengine.config import Config


def start_gloo_on_cpu(cfg: Config) -> None:
    """Let ``--launcher pytorch`` work on a CPU.

    MMEngine's launcher calls CUDA. On a CPU the process group is therefore
    started here, with gloo, and the model is wrapped without device ids.
    Nothing is done with a GPU or without a launcher.

    Args:
        cfg (Config): The run's config; its ``model_wrapper_cfg`` is set.

    Raises:
        ValueError: If its ``sync_bn`` asks for what only a GPU can do.
    """
    if cfg.launcher != 'pytorch' or torch.cuda.is_available():
        return
    if cfg.get('sync_bn'):
        raise ValueError(f'`sync_bn` is {cfg.sync_bn!r}, but synchronised '
                         'batch norms need GPUs; on a CPU add `--cfg-options '
                         'sync_bn=None`')
    torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **cfg.get('model_wrapper_cfg', {}),
        'device_ids': None}
