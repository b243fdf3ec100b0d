import pytest
from torch import nn

from repfusion_mm.models.distillers.task_heads import (
    heads_of,
    ignore_index_of,
    mask_classes_of,
)


class Head(nn.Module):

    def __init__(self, *losses, **attributes):
        super().__init__()
        vars(self).update(attributes)
        self.loss_decode = nn.ModuleList(losses)

    def loss(self):
        pass


class Loss(nn.Module):

    def __init__(self, **attributes):
        super().__init__()
        vars(self).update(attributes)


def task(**parts):
    module = nn.Module()
    module.backbone = Head()
    module.neck = Head()
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def test_heads():
    one, two, three, without = Head(), Head(), Head(), nn.Identity()
    assert heads_of(task(decode_head=one)) == [one]
    assert heads_of(task(decode_head=nn.ModuleList([one, two]), other=without,
                         auxiliary_head=three)) == [one, two, three]
    assert heads_of(task(other=without)) == []


@pytest.mark.parametrize('head, index', [
    (None, 255), (Head(), 255), (Head(ignore_index=0), 0),
    (Head(Loss(), Loss(ignore_index=7), ignore_index=None), 7),
    (Head(Loss(ignore_label=9)), 9),
    (Head(Loss(ignore_index=3), ignore_index=0), 0),
    (nn.ModuleList([Head(ignore_index=1), Head(ignore_index=2)]), 2)])
def test_ignore_index(head, index):
    parts = {} if head is None else dict(decode_head=head)
    assert ignore_index_of(task(**parts)) == index


@pytest.mark.parametrize('head, classes', [
    (None, None), (Head(), None), (Head(num_classes=19), 19),
    (Head(num_classes=19, out_channels=19), 19),
    (Head(num_classes=1, out_channels=1), 2),
    (Head(num_classes=2, out_channels=1), 2),
    (nn.ModuleList([Head(num_classes=1), Head(num_classes=5)]), 5)])
def test_mask_classes(head, classes):
    parts = {} if head is None else dict(decode_head=head)
    assert mask_classes_of(task(**parts)) == classes
