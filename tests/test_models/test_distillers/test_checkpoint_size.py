import os

import torch
from mmengine.runner import Runner

CONFIG = 'configs/demo/repfusion_resnet18_reinforced_digits.py'


def size(value):
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(size, value)) if isinstance(value, (list, tuple)) else 0


def test_checkpoint_holds_no_teacher(load_config, tmp_path):
    """At most 1.1 times what student, heads and optimiser state take.

    And that is what they take by their shapes: two moments of each weight.
    """
    cfg = load_config(CONFIG, 2, **{
        'model.teacher.pretrained': 'configs/demo/dpm_digits'})
    runner = Runner.from_cfg(cfg)
    runner.train()
    path = tmp_path / 'iter_2.pth'
    model = runner.model
    own = size(dict(model.named_parameters()))
    buffers = size(dict(model.named_buffers()))
    state = runner.optim_wrapper.state_dict()['state']
    needed = own + buffers + size(state)
    assert size(state) < 2.01 * own
    teacher = size(dict(model.teacher.network.named_parameters()))
    assert teacher > 0.1 * needed  # it would not fit
    assert os.path.getsize(path) <= 1.1 * needed
