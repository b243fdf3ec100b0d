import math

import numpy as np
import pytest
import torch


@pytest.fixture
def loss(build):
    return lambda **cfg: build(dict(
        type='repfusion_mm.ContrastiveRepresentationLoss', **cfg))


def reference(module, dataset_size, temperature=0.07):
    """Both anchors, one pair after the other."""
    layers = [[w.detach().double().numpy() for w in layer.parameters()]
              for layer in (module.student_embedding,
                            module.teacher_embedding)]

    def value(student, teacher):
        embedded = []
        for feature, (weight, bias) in zip((student, teacher), layers):
            rows = [weight @ f.mean((1, 2)) + bias for f in feature]
            embedded.append([row / math.sqrt(row @ row) for row in rows])
        n = len(student)
        total = 0.
        for anchors, others in (embedded, embedded[::-1]):
            for i in range(n):
                for j in range(n):
                    likely = math.exp(anchors[i] @ others[j] / temperature)
                    h = likely / (likely + (n - 1) / dataset_size)
                    total -= math.log(h if i == j else 1 - h)
        return total / n

    return value


@pytest.mark.parametrize('dataset_size, temperature', [(10, 0.5),
                                                       (1000, 0.07)])
def test_value_and_gradient(loss, check_against, dataset_size, temperature):
    module = loss(channels=3, embed_dim=4, dataset_size=dataset_size,
                  temperature=temperature)
    check_against(module, reference(module, dataset_size, temperature),
                  torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))


def test_defaults(loss):
    module = loss(channels=3, dataset_size=500)
    assert module.student_embedding.out_features == 128
    assert module.teacher_embedding.out_features == 128
    pair = torch.randn(2, 4, 3, 1, 1)
    wanted = reference(module, 500)(*pair.double().numpy())
    assert module(*pair).item() == pytest.approx(wanted, rel=1e-5)


def test_sides_have_embeddings_of_their_own(loss):
    module = loss(channels=3, dataset_size=10)
    module(*torch.randn(2, 4, 3)).backward()
    for layer in (module.student_embedding, module.teacher_embedding):
        assert layer.weight.grad.abs().sum() > 0
    assert not torch.equal(module.student_embedding.weight,
                           module.teacher_embedding.weight)


def test_stable(loss):
    # exp(g / temperature) would be beyond float32
    module = loss(channels=3, dataset_size=10**9, temperature=1e-3)
    student = torch.randn(4, 3, requires_grad=True)
    value = module(student, torch.randn(4, 3))
    value.backward()
    assert value.isfinite() and student.grad.isfinite().all()


def test_it_can_be_learnt(loss):
    module = loss(channels=4, embed_dim=16, dataset_size=16,
                  temperature=0.2)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    teacher = torch.randn(16, 4)
    student = teacher @ torch.randn(4, 4)
    values = []
    for _ in range(100):
        optimizer.zero_grad()
        value = module(student, teacher)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert np.mean(values[-10:]) < 0.5 * values[0]
    # what belongs together is then nearest
    with torch.no_grad():
        similarity = torch.cosine_similarity(
            module.student_embedding(student)[:, None],
            module.teacher_embedding(teacher)[None], dim=2)
    found = similarity.argmax(1) == torch.arange(16)
    assert found.float().mean() > 0.5
