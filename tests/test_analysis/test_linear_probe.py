import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from repfusion_mm.analysis import probe_over_time


def blobs(n, spread, seed):
    """Three classes, and features of which only those of t = 5 tell."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.array([[0, 0], [10, 0], [0, 300]])
    told = centres[labels] + rng.normal(0, spread, (n, 2)) * [1, 30]
    return {0: rng.normal(size=(n, 2)), 5: told}, labels


def test_probe():
    train, test = blobs(90, 3., 0), blobs(300, 3., 1)
    chance, told = probe_over_time(train, test)
    assert (chance['t'], told['t']) == (0, 5)
    assert chance['accuracy'] < 50 < 80 < told['accuracy']
    assert told['std_error'] is None
    # standardised by the training images, not by the test images
    mean, std = train[0][5].mean(0), train[0][5].std(0)
    model = LogisticRegression(max_iter=1000).fit(
        (train[0][5] - mean) / std, train[1])
    right = (model.predict((test[0][5] - mean) / std) == test[1]).mean()
    assert told['accuracy'] == pytest.approx(100 * right)


def test_probe_of_few_labels():
    train, test = blobs(90, 4., 0), blobs(300, 4., 1)
    rows = probe_over_time(train, test, labels_per_class=2, seeds=5)
    again = probe_over_time(train, test, labels_per_class=2, seeds=5)
    assert rows == again
    accuracies = np.array(rows[1]['per_seed'])
    assert len(accuracies) == 5 and len(set(accuracies)) > 1
    assert rows[1]['accuracy'] == pytest.approx(accuracies.mean())
    spread = np.sqrt(((accuracies - accuracies.mean())**2).sum() / 4)
    assert rows[1]['std_error'] == pytest.approx(spread / np.sqrt(5))


def test_neighbours_by_hand():
    train, test = blobs(90, 6., 0), blobs(60, 6., 1)
    row = probe_over_time(train, test)[1]
    known, asked = (one[0][5] / np.linalg.norm(one[0][5], axis=1,
                                               keepdims=True)
                    for one in (train, test))
    right = 0
    for vector, label in zip(asked, test[1]):
        nearest = np.argsort(-known @ vector)[:9]  # a tenth of the 90
        counts = np.bincount(train[1][nearest], minlength=3)
        right += counts.argmax() == label
    assert row['knn'] == pytest.approx(100 * right / 60)
    assert 50 < row['knn'] < 100 and row['knn_std_error'] is None


def test_too_few_labels():
    train, test = blobs(90, 4., 0), blobs(30, 4., 1)
    with pytest.raises(ValueError, match='`labels_per_class` is 31.*only 30'):
        probe_over_time(train, test, labels_per_class=31)
