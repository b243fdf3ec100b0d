import numpy as np
import pytest
import torch

import repfusion_mm.models.labels.mask_ids as module
from repfusion_mm.models.labels import check_masks, note_labelled
from repfusion_mm.models.labels.mask_ids import mask_ids


@pytest.mark.parametrize('dtype', [
    torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32,
    torch.bool], ids=str)
def test_ids(dtype):
    mask = torch.tensor([[[3, 3, 0], [7, 255, 0]]])
    mask = (mask > 0).to(dtype) if dtype == torch.bool else mask.to(dtype)
    wanted = mask.unique().tolist()
    if dtype == torch.int16:
        mask[0, 0, 0], wanted = -2, [-2, *wanted]
    assert mask_ids(mask) == tuple(wanted)
    assert all(type(one) is int for one in mask_ids(mask))
    # not only where it lies in one piece
    assert mask_ids(mask.transpose(1, 2)) == mask_ids(mask)


@pytest.mark.parametrize('ids', [
    [], [255], [-1, 4], [0, 2**16 - 1], [0, 2**16], [5, 2**40]], ids=str)
def test_any_ids(ids):
    assert mask_ids(torch.tensor(ids, dtype=torch.long)) == tuple(ids)


def test_looked_at_once(monkeypatch):
    looks = []
    found = module._found

    def counted(mask):
        looks.append(mask)
        return found(mask)

    monkeypatch.setattr(module, '_found', counted)
    mask = torch.zeros(1, 4, 4, dtype=torch.long)
    for _ in range(3):
        assert mask_ids(mask) == (0, )
    assert len(looks) == 1
    # until it is changed
    mask[0, 1] = 7
    assert mask_ids(mask) == (0, 7) and len(looks) == 2
    assert mask_ids(torch.nn.functional.pad(mask, (0, 1), value=9)) == (
        0, 7, 9)
    assert mask_ids(mask.clone()) == (0, 7)
    with torch.inference_mode():
        free = torch.zeros(2, dtype=torch.long)
        assert mask_ids(free) == (0, )
        free += 1
        assert mask_ids(free) == (1, )


def test_one_look_at_a_batch(seg_sample, monkeypatch):
    """Of a reward, a head, and who asks which images are labelled."""
    looks = []
    found = module._found
    monkeypatch.setattr(module, '_found',
                        lambda mask: looks.append(mask) or found(mask))
    batch = [seg_sample([[0, 1, 255]]), seg_sample([[255] * 3])]
    check_masks(batch, 3)
    check_masks(batch, 2, key='task.decode_head')
    note_labelled(batch)
    assert [sample.labelled for sample in batch] == [True, False]
    assert len(looks) == 2


def test_against_unique():
    for seed in range(5):
        mask = torch.from_numpy(np.random.default_rng(seed).integers(
            -1, 256, (1, 30, 20)))
        assert mask_ids(mask) == tuple(mask.unique().tolist())
