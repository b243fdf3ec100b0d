import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return lambda **cfg: build(dict(
        type='repfusion_mm.AttentiveFeatureLoss', **cfg))


def reference(weights):
    w1, b1, w2, b2 = (w.detach().double().numpy() for w in weights)

    def value(student, teacher):
        losses = []
        for s, t in zip(student, teacher):
            scores = w2 @ np.maximum(w1 @ t.mean((1, 2)) + b1, 0) + b2
            rho = np.exp(scores) / np.exp(scores).sum()
            losses.append(sum(rho[c] * ((s[c] - t[c])**2).mean()
                              for c in range(len(rho))))
        return np.mean(losses)

    return value


def test_value_and_gradient(loss, check_against):
    module = loss(channels=3, hidden=4)
    assert [tuple(w.shape) for w in module.parameters()] == [
        (4, 3), (4, ), (3, 4), (3, )]
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_()
    check_against(module, reference(list(module.parameters())),
                  torch.randn(2, 3, 2, 3), torch.randn(2, 3, 2, 3))
    assert module.needs_maps is True


def test_gradient_of_the_weights(loss):
    module = loss(channels=3, hidden=4)
    pair = torch.randn(2, 2, 3, 2, 2)
    module(*pair).backward()
    bias = module.attention[-1].bias
    value = reference(list(module.parameters()))
    arrays = [f.double().numpy() for f in pair]
    for c in range(3):
        ends = []
        for step in (1e-3, -1e-3):
            with torch.no_grad():
                bias[c] += step
                value = reference(list(module.parameters()))
                ends.append(value(*arrays))
                bias[c] -= step
        wanted = (ends[0] - ends[1]) / 2e-3
        assert bias.grad[c].item() == pytest.approx(wanted, rel=1e-2,
                                                    abs=1e-5)


def test_equal_weights_are_the_hint_loss(loss, build):
    module = loss(channels=5)
    for weight in module.parameters():
        torch.nn.init.zeros_(weight)
    pair = torch.randn(2, 3, 5, 4, 4)
    torch.testing.assert_close(
        module(*pair), build(dict(type='repfusion_mm.HintLoss'))(*pair))


def test_weight_moves_to_the_easiest_channel(loss):
    """The documented weakness, so that the docstring stays true."""
    module = loss(channels=2, hidden=8)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    teacher = torch.randn(16, 2, 2, 2)
    teacher[:, 1] *= 0.1  # hardly varies
    student = torch.zeros_like(teacher)
    first = module(student, teacher).item()
    for _ in range(50):
        optimizer.zero_grad()
        module(student, teacher).backward()
        optimizer.step()
    assert module(student, teacher).item() < first / 3
    rho = module.attention(teacher.mean((2, 3))).softmax(1).mean(0)
    assert rho[1] > 0.8
