"""What every feature loss promises."""
import inspect

import pytest
import torch

from repfusion_mm.models import losses

BATCH = 6
REQUIRED = dict(channels=5, dataset_size=100)
# least number of images, whether equal features cost nothing
PROMISES = dict(
    AttentionTransferLoss=(1, True),
    AttentiveFeatureLoss=(1, True),
    CKALoss=(3, True),
    ContrastiveRepresentationLoss=(2, False),
    CosineLoss=(1, True),
    HintLoss=(1, True),
    InfoNCELoss=(2, False),
    RelationalLoss=(2, True),
    SoftLabelLoss=(1, True))
VECTORS = [name for name in losses.__all__
           if getattr(losses, name).needs_maps is False]
ARGUMENTS = dict(
    loss_weight='a finite number of at least 0',
    distance_weight='a finite number of at least 0',
    angle_weight='a finite number of at least 0',
    temperature='a finite number above 0',
    channels='a whole number of at least 1',
    chunk_size='a whole number of at least 1',
    hidden='a whole number of at least 1',
    embed_dim='a whole number of at least 1',
    dataset_size='a whole number of at least 1')


def arguments(name):
    return inspect.signature(getattr(losses, name)).parameters


@pytest.fixture(params=losses.__all__)
def name(request):
    return request.param


@pytest.fixture
def loss(name, build):
    """The loss; the same weights, if any, at every call."""
    required = {key: REQUIRED[key] for key in arguments(name)
                if key in REQUIRED}

    def make(**cfg):
        torch.manual_seed(3)
        return build({'type': f'repfusion_mm.{name}', **required, **cfg})

    return make


@pytest.fixture
def pair():
    return torch.randn(BATCH, 5, 4, 4), torch.randn(BATCH, 5, 4, 4)


def test_are_all_listed():
    assert set(PROMISES) == set(losses.__all__)


def test_scalar_and_gradients(loss, pair):
    student, teacher = (f.requires_grad_() for f in pair)
    module = loss()
    value = module(student, teacher)
    assert value.shape == () and value.dtype == torch.float32
    assert value.item() > 0
    value.backward()
    assert teacher.grad is None
    assert student.grad.isfinite().all() and student.grad.abs().sum() > 0
    for parameter in module.parameters():  # DDP waits for every one
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_loss_weight(loss, pair):
    wanted = 2.5 * loss()(*pair)
    torch.testing.assert_close(loss(loss_weight=2.5)(*pair), wanted)


def test_float32_under_autocast(loss, pair):
    module = loss()

    def run(autocast):
        module.zero_grad()
        student = pair[0].clone().requires_grad_()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
            value = module(student, pair[1])
        value.backward()
        return [value.detach(), student.grad] + [
            parameter.grad.clone() for parameter in module.parameters()]

    for got, wanted in zip(run(True), run(False)):
        assert got.dtype == torch.float32
        assert torch.equal(got, wanted)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_features(loss, pair, dtype):
    module = loss()
    low = [f.to(dtype) for f in pair]
    got = module(*low)
    assert got.dtype == torch.float32
    # only the features were rounded
    assert torch.equal(got, module(*(f.float() for f in low)))


def test_mixed_precision(loss, pair):
    # a half teacher beside a student in float32
    student, teacher = pair[0], pair[1].half()
    module = loss()
    assert torch.equal(module(student, teacher),
                       module(student, teacher.float()))


@pytest.mark.parametrize('name', VECTORS, indirect=True)
def test_vectors(name, loss, pair):
    module = loss()
    assert module.needs_maps is False
    pooled = [f.mean((2, 3)) for f in pair]
    torch.testing.assert_close(module(*pooled), module(*pair))
    torch.testing.assert_close(module(pooled[0], pair[1]), module(*pair))


def test_equal_features(name, loss, pair):
    value = loss()(pair[0], pair[0]).item()
    if PROMISES[name][1]:
        assert value == pytest.approx(0, abs=1e-6)
    else:
        assert 0 < value < loss()(*pair).item()


def test_constant_features(loss):
    # nothing is divided by zero, on either side
    for student, teacher in [(0., 0.), (1e3, 1.), (0., None), (None, 0.)]:
        student, teacher = (
            torch.randn(BATCH, 5, 4, 4) if f is None else
            torch.full((BATCH, 5, 4, 4), f) for f in (student, teacher))
        student.requires_grad_()
        value = loss()(student, teacher)
        value.backward()
        assert value.isfinite() and student.grad.isfinite().all()
        assert student.grad.abs().max() < 1e4


def test_too_few_images(name, loss, pair):
    least = PROMISES[name][0]
    loss()(*(f[:least] for f in pair))
    if least > 1:
        with pytest.raises(ValueError, match=f'{name} .*at least {least} a '
                                             f'process, got {least - 1}.*'
                                             'train_dataloader.batch_size'):
            loss()(*(f[:least - 1] for f in pair))


@pytest.mark.parametrize('name, argument', [
    (name, argument) for name in losses.__all__ if name != 'HintLoss'
    for argument in arguments(name) if argument in ARGUMENTS],
    indirect=['name'])
def test_arguments_are_checked(name, loss, argument):
    with pytest.raises(ValueError, match=f'`{argument}` is -1, but {name} '
                                         f'expects {ARGUMENTS[argument]}'):
        loss(**{argument: -1})
