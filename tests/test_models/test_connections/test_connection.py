import pytest
import torch
import torch.nn.functional as F
from torch import nn


@pytest.fixture
def connection(build):

    def make(student_shape, teacher_shape, **loss):
        return build(dict(
            type='repfusion_mm.Connection', student_tap='layer4',
            teacher_tap='mid_block', student_shape=student_shape,
            teacher_shape=teacher_shape,
            loss=dict(type='repfusion_mm.HintLoss', **loss)))

    return make


def as_is(projector):
    """Lets the projector hand the first channels through."""
    with torch.no_grad():
        projector.weight.zero_()
        projector.bias.zero_()
        for i in range(min(projector.weight.shape[:2])):
            projector.weight[i, i] = 1.


def test_projector(connection):
    module = connection((4, 2, 2), (6, 2, 2))
    assert isinstance(module.projector, nn.Conv2d)
    student, teacher = torch.randn(3, 4, 2, 2), torch.randn(3, 6, 2, 2)
    weight = module.projector.weight.double().flatten(1)
    bias = module.projector.bias.double().view(6, 1, 1)
    projected = torch.einsum('oc,nchw->nohw', weight, student.double()) + bias
    wanted = (projected - teacher).pow(2).mean().item()
    assert module(student, teacher).item() == pytest.approx(wanted, rel=1e-5)


def test_resized_to_the_teacher(connection):
    module = connection((1, 1, 2), (1, 1, 4))
    as_is(module.projector)
    student = torch.tensor([[[[0., 4.]]]])
    # bilinear, the corners not aligned: pixel centres at -1/4, 1/4, ...
    wanted = torch.tensor([[[[0., 1., 3., 4.]]]])
    assert module(student, wanted).item() == pytest.approx(0, abs=1e-10)
    assert module(student, wanted + 2).item() == pytest.approx(4)


def test_pooled_is_not_resized(connection):
    module = connection((2, 3, 3), (2, 5, 4), pool=True)
    as_is(module.projector)
    student, teacher = torch.randn(2, 2, 3, 3), torch.randn(2, 2, 5, 4)
    wanted = (student.mean((2, 3)) - teacher.mean((2, 3))).pow(2).mean()
    torch.testing.assert_close(module(student, teacher), wanted)


def test_vectors(connection):
    module = connection((3, ), (2, 4, 4), pool=True)
    assert isinstance(module.projector, nn.Linear)
    as_is(module.projector)
    student, teacher = torch.randn(5, 3), torch.randn(5, 2, 4, 4)
    wanted = (student[:, :2] - teacher.mean((2, 3))).pow(2).mean()
    torch.testing.assert_close(module(student, teacher), wanted)


def test_default_loss(build):
    module = build(dict(
        type='repfusion_mm.Connection', student_tap='a', teacher_tap='b',
        student_shape=(2, 4, 4), teacher_shape=(3, 4, 4)))
    student, teacher = torch.randn(2, 2, 4, 4), torch.randn(2, 3, 4, 4)
    wanted = (module.projector(student) - teacher).pow(2).mean()
    torch.testing.assert_close(module(student, teacher), wanted)


class ChannelsLoss(nn.Module):
    """A loss with weights of its own, for each channel of the teacher."""
    needs_maps = True

    def __init__(self, channels, scale=1.):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, student, teacher):
        return (self.weight * (student - teacher)).pow(2).mean()


@pytest.mark.parametrize('cfg, channels', [({}, 6), (dict(channels=1), 1)])
def test_loss_learns_the_channels(build, cfg, channels):
    module = build(dict(
        type='repfusion_mm.Connection', student_tap='a', teacher_tap='b',
        student_shape=(4, 2, 2), teacher_shape=(6, 2, 2),
        loss=dict(type=ChannelsLoss, scale=2., **cfg)))
    assert module.loss.weight.shape == (channels, 1, 1)
    student, teacher = torch.randn(3, 4, 2, 2), torch.randn(3, 6, 2, 2)
    wanted = 4 * (module.projector(student) - teacher).pow(2).mean()
    loss = module(student, teacher)
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert module.loss.weight.grad.abs().sum() > 0


def test_contrastive_representation(build):
    # the one of ours that asks for them
    module = build(dict(
        type='repfusion_mm.Connection', student_tap='a', teacher_tap='b',
        student_shape=(4, 2, 2), teacher_shape=(6, 3, 3),
        loss=dict(type='repfusion_mm.ContrastiveRepresentationLoss',
                  dataset_size=100, embed_dim=5)))
    assert module.loss.teacher_embedding.weight.shape == (5, 6)
    loss = module(torch.randn(3, 4, 2, 2), torch.randn(3, 6, 3, 3))
    assert loss.isfinite() and loss > 0


def test_under_autocast(connection):
    module = connection((4, 2, 2), (6, 4, 4))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = module(torch.randn(3, 4, 2, 2), torch.randn(3, 6, 4, 4))
    assert loss.dtype == torch.float32
    loss.backward()
    assert module.projector.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('shape, pool, match', [
    ((4, ), False, r"'layer4'.*\(4,\).*needs a map \(C, H, W\);"),
    ((4, 2), False, r'needs a map \(C, H, W\);'),
    ((4, 2), True, r'needs a map \(C, H, W\) or a vector')])
def test_no_map(connection, shape, pool, match):
    with pytest.raises(ValueError, match=match):
        connection(shape, (6, 4, 4), pool=pool)


def test_typo(build):
    with pytest.raises(KeyError, match='HintLoss'):
        build(dict(
            type='repfusion_mm.Connection', student_tap='a', teacher_tap='b',
            student_shape=(2, 4, 4), teacher_shape=(3, 4, 4),
            loss=dict(type='repfusion_mm.HintLos')))


@pytest.mark.parametrize('resize', ['student', 'teacher'])
def test_resize(build, resize):
    module = build(dict(
        type='repfusion_mm.Connection', student_tap='a', teacher_tap='b',
        student_shape=(3, 4, 4), teacher_shape=(5, 8, 6), resize=resize))
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 8, 6)
    projected = module.projector(student)
    if resize == 'student':
        projected = F.interpolate(projected, (8, 6), mode='bilinear')
    else:
        teacher = F.interpolate(teacher, (4, 4), mode='bilinear')
    torch.testing.assert_close(module(student, teacher),
                               F.mse_loss(projected, teacher))


def test_unknown_resize(build):
    with pytest.raises(ValueError, match='`connections.resize`.*both'):
        build(dict(
            type='repfusion_mm.Connection', student_tap='a', teacher_tap='b',
            student_shape=(3, 4, 4), teacher_shape=(5, 8, 6), resize='both'))


def test_loss_that_compares_no_features(build):
    with pytest.raises(ValueError, match='`connections.loss` is a '
                       'CrossEntropyLoss, which.*HintLoss'):
        build(dict(type='repfusion_mm.Connection', student_tap='a',
                   teacher_tap='b', student_shape=(4, 2, 2),
                   teacher_shape=(4, 2, 2),
                   loss=dict(type='mmpretrain.CrossEntropyLoss')))
