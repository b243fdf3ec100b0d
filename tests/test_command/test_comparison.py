import numpy as np
import pytest
import torch

from repfusion_mm.command.comparison import answers, compared
from repfusion_mm.registry import DATASETS


def test_compared():
    """Nine of ten against six: three images more, of which none is worse."""
    right = dict(distilled=[1] * 9 + [0], scratch=[1] * 6 + [0] * 4,
                 scratch_long=[1] * 9 + [0])
    first, scratch, long = compared(right)
    assert first == dict(arm='distilled', accuracy=90.)
    assert scratch['accuracy'] == 60. and scratch['gain'] == \
        pytest.approx(30.)
    # ten draws of which each is ahead with probability 0.3
    draws = np.random.default_rng(1).binomial(10, 0.3, 100_000) * 10
    assert scratch['low'] == pytest.approx(np.quantile(draws, 0.05), abs=10)
    assert scratch['high'] == pytest.approx(np.quantile(draws, 0.95), abs=10)
    assert (long['gain'], long['low'], long['high']) == (0., 0., 0.)


def test_answers(make_plan, labels, build, tmp_path):
    """As the bare network says, in the order of the list."""
    from mmengine.registry import init_default_scope

    from repfusion_mm.command.configs import classifier_config
    plan = make_plan(labels=labels)
    cfg = classifier_config(plan, 'scratch', None)
    init_default_scope('mmpretrain')
    model = build(cfg.model)
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict=model.state_dict()), path)
    found = answers(cfg, path)
    model.eval()
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(found) == len(dataset) == plan.test
    for number, answer in enumerate(found):
        sample = dataset[number]
        # read as BGR, seen as RGB
        inputs = (sample['inputs'].flip(0).float() - 127.5) / 127.5
        features = model.backbone(inputs[None])[-1].mean((2, 3))
        label = (features @ model.head.fc.weight.T +
                 model.head.fc.bias).argmax()
        assert answer == int(label == sample['data_samples'].gt_label)
