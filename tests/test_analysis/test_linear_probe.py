import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from repfusion_mm.analysis import pooled_features, probe_over_time


def blobs(n, spread, seed):
    """Three classes, and features of which only those of t = 5 tell."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.array([[0, 0], [10, 0], [0, 300]])
    told = centres[labels] + rng.normal(0, spread, (n, 2)) * [1, 30]
    return {0: rng.normal(size=(n, 2)), 5: told}, labels


def test_pooled_features(build, pipeline_folder, complete, samples):
    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder,
                         taps=['conv_in', 'mid_block']))
    teacher.init_weights()
    preprocessor = build(dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[120.] * 3,
        std=[50.] * 3))
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8)
    labels = [4, -1, 0, -1, -1, 2]
    batches = [dict(inputs=list(pixels[i:i + 2]),
                    data_samples=samples(labels[i:i + 2]))
               for i in (0, 2, 4)]
    features, found = pooled_features(
        teacher, batches, preprocessor, [3, 700], 'mid_block',
        channel_order='bgr')
    assert found.tolist() == [4, 0, 2]
    known = pixels[[0, 2, 5]].flip(1) / 127.5 - 1
    for t in (3, 700):
        wanted = complete(known, torch.full((3, ), t), ['mid_block'])
        np.testing.assert_allclose(
            features[t], wanted['mid_block'].mean((2, 3)), rtol=1e-3,
            atol=1e-4)
    first, _ = pooled_features(teacher, batches, preprocessor, [3])
    assert first[3].shape == (3, 16)  # of the first tap
    with pytest.raises(ValueError, match='1000.*knows 0 to 999'):
        pooled_features(teacher, batches, preprocessor, [3, 1000])
    with pytest.raises(ValueError, match='no image'):
        pooled_features(teacher, [dict(inputs=list(pixels),
                                       data_samples=samples([-1] * 6))],
                        preprocessor, [3])


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
