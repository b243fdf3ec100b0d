"""Two half batches in a row are as one whole."""
import torch
from mmengine.runner import Runner

FIXED = 'configs/demo/repfusion_resnet18_fixed_digits.py'


def trained(load_config, iters, batch_size, **optim_wrapper):
    cfg = load_config(FIXED, iters=iters, **{
        'train_dataloader.batch_size': batch_size,
        'model.backbone.norm_eval': True})
    cfg.optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1),
                             **optim_wrapper)
    cfg.experiment_name = f'{batch_size} {iters}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner.model.state_dict()


def test_weights(load_config):
    whole = trained(load_config, 2, 8)
    halves = trained(load_config, 4, 4, accumulative_counts=2)
    for key, value in whole.items():
        torch.testing.assert_close(halves[key], value, rtol=1e-4, atol=1e-6)
    others = trained(load_config, 4, 4)
    key = 'backbone.conv1.weight'
    assert (others[key] - whole[key]).abs().max() > 1e-4
