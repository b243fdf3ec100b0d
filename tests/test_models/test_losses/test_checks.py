import pytest
from torch import nn

from repfusion_mm.models.losses.checks import check_images


def test_too_few_images():
    loss = nn.ReLU()
    loss.least_images = 3
    check_images(loss, 3)
    with pytest.raises(ValueError, match=r'connections.loss. ReLU .*at least '
                                         r'3 a process, got 2.*'
                                         r'train_dataloader.batch_size'):
        check_images(loss, 2)
