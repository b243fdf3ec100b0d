"""The reward that CONTRIBUTING.md writes from scratch."""
import re

import torch

from repfusion_mm.models.rewards.base import RewardInputs
from repfusion_mm.registry import MODELS


def test_reward(root):
    text = (root / 'CONTRIBUTING.md').read_text()
    code, = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    before = dict(MODELS.module_dict)
    try:
        exec(code, {})
        reward = MODELS.build(dict(
            type='repfusion_mm.NearestMeanReward', num_classes=2,
            feature_shapes=dict(mid_block=(3, 2, 2))))
    finally:
        MODELS.module_dict.clear()
        MODELS.module_dict.update(before)
    from mmpretrain.structures import DataSample
    samples = [DataSample().set_gt_label(label) for label in (0, 0, 1, -1)]
    z = torch.randn(4, 3, 2, 2)
    value, mask, losses = reward(RewardInputs(
        None, None, dict(mid_block=z), {}, samples))
    assert mask.tolist() == [True, True, True, False] and losses == {}
    z = z.mean((2, 3)).double()
    wanted = -((z[0] - z[1]) / 2).square().mean()
    torch.testing.assert_close(
        value.double(), torch.stack([wanted, wanted, wanted * 0, wanted * 0]))
