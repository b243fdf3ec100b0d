import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def lenet(build):
    return lambda **cfg: build(dict(
        type='repfusion_mm.LeNetPolicy', **{'num_actions': 7, **cfg}))


def test_published_for_cifar(lenet):
    policy = lenet(num_actions=1000)
    shapes = [tuple(p.shape) for p in policy.parameters() if p.dim() > 1]
    assert shapes == [(6, 3, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120),
                      (1000, 84)]


def test_published_for_64_pixels(lenet, images):
    policy = lenet(image_size=64, channels=(6, 16, 16))
    assert policy(images).shape == (4, 7)
    assert sum(p.dim() == 4 for p in policy.parameters()) == 3


def test_value(lenet):
    policy = lenet()
    images = torch.rand(2, 3, 32, 32) * 255
    conv1, bias1, conv2, bias2, *linear = policy.double().parameters()
    x = images.double() / 127.5 - 1
    x = F.max_pool2d(F.conv2d(x, conv1, bias1).relu(), 2)
    x = F.max_pool2d(F.conv2d(x, conv2, bias2).relu(), 2).flatten(1)
    x = F.linear(F.linear(x, *linear[:2]).relu(), *linear[2:4]).relu()
    x = F.linear(x, *linear[4:])
    torch.testing.assert_close(policy(images.double()), x)


@pytest.mark.parametrize('size', [(7, 7), (16, 40), (50, 33)])
def test_images_of_any_size(lenet, size):
    policy = lenet(image_size=16)
    flat = torch.full((2, 3, *size), 77.)
    same = torch.full((2, 3, 16, 16), 77.)
    torch.testing.assert_close(policy(flat), policy(same))


def test_too_small(lenet):
    assert lenet(image_size=16)(torch.zeros(1, 3, 16, 16)).shape == (1, 7)
    with pytest.raises(ValueError, match='`policy.image_size` of 15'):
        lenet(image_size=15)


def test_constant(build, images):
    policy = build(dict(type='repfusion_mm.ConstantPolicy', num_actions=5))
    torch.nn.init.normal_(policy.scores)
    scores = policy(images)
    assert scores.shape == (4, 5)
    assert all(torch.equal(row, policy.scores) for row in scores)
