"""repfusion_mm/engine/hooks/feature_quality_hook.py"""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / 'configs' / 'demo' / 'repfusion_resnet18_fixed_digits.py'
VAL = dict(type='repfusion_mm.Digits', split='val',
           pipeline=[dict(type='PackInputs')])


@pytest.fixture
def train(tmp_path):

    def run(dataset=VAL, steps=4, name='run', resume=False, **options):
        cfg = Config.fromfile(str(DEMO))
        cfg.work_dir = str(tmp_path / name)
        cfg.model.teacher.pretrained = str(ROOT / 'configs/demo/dpm_digits')
        cfg.train_cfg.max_iters = steps
        cfg.param_scheduler = []
        cfg.default_hooks.checkpoint.interval = 2
        cfg.resume = resume
        cfg.randomness = dict(seed=0)
        cfg.experiment_name = f'{tmp_path.name}_{name}_{steps}'
        if dataset is not None:
            cfg.custom_hooks.append(dict(
                type='repfusion_mm.FeatureQualityHook', dataset=dataset,
                **{'interval': 2, 'num_images': 40, **options}))
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner, Path(cfg.work_dir)

    return run


def few(dataset):
    """The same without labels."""
    return dict(type='repfusion_mm.FewLabels', labels_per_class=0,
                part='unlabelled', seed=0, dataset=dataset)


def rows_of(folder):
    return [json.loads(line) for line in
            (folder / 'feature_quality.jsonl').read_text().splitlines()]


def weights(runner):
    return runner.model.state_dict()


def test_labelled(train, caplog):
    """At first, at the interval and at the end; and nothing else changes."""
    runner, folder = train(steps=3)
    rows = rows_of(folder)
    assert [row['iter'] for row in rows] == [0, 2, 3]
    assert set(rows[0]) == {'iter', 'rank', 'probe', 'knn'}
    assert 0 <= rows[0]['probe'] <= 100
    assert list(folder.rglob('vis_image/feature_quality_*.png'))
    without, _ = train(None, steps=3, name='without')
    for one, other in zip(weights(runner).values(),
                          weights(without).values()):
        assert torch.equal(one, other)


def test_the_best_is_kept(train, monkeypatch):
    from repfusion_mm.engine.hooks import feature_quality_hook as module
    values = iter([10., 30., 20., 25.])
    monkeypatch.setattr(module, 'feature_quality', lambda *args: dict(
        rank=1., probe=next(values)))
    _, folder = train(interval=1, steps=3)
    saved = torch.load(folder / 'best_probe.pth', map_location='cpu',
                       weights_only=False)
    assert saved['meta']['iter'] == 1 and saved['meta']['probe'] == 30.
    assert any(key.startswith('backbone.') for key in saved['state_dict'])
    assert 'optimizer' not in saved


def test_it_ends_where_nothing_gets_better(train, monkeypatch):
    from repfusion_mm.engine.hooks import feature_quality_hook as module
    values = iter([10., 30., 20., 25., 99., 99., 99.])
    monkeypatch.setattr(module, 'feature_quality', lambda *args: dict(
        rank=next(values)))
    runner, folder = train(interval=1, steps=6, patience=2)
    assert runner.iter == 3 and len(rows_of(folder)) == 4


def test_resumed(train):
    _, folder = train(steps=2)
    path = folder / 'feature_quality.jsonl'
    before = rows_of(folder)
    with open(path, 'a') as file:  # of steps behind the checkpoint
        file.write(json.dumps(dict(before[-1], iter=3)) + '\n')
    train(steps=4, resume=True)
    assert [row['iter'] for row in rows_of(folder)] == [0, 2, 4]
    assert rows_of(folder)[:2] == before


def test_unlabelled(train):
    unlabelled = few(VAL)
    _, folder = train(unlabelled, steps=1)
    assert set(rows_of(folder)[0]) == {'iter', 'rank', 'uniformity'}
    augmented = few(dict(VAL, pipeline=[
        dict(type='RandomCrop', crop_size=16, padding=2),
        dict(type='PackInputs')]))
    _, folder = train(augmented, steps=1, name='augmented')
    rows = rows_of(folder)
    assert set(rows[0]) == {'iter', 'rank', 'uniformity', 'alignment'}


@pytest.mark.parametrize('options, match', [
    (dict(keep_best='accuracy'), "`keep_best` is 'accuracy'"),
    (dict(interval=0), '`interval` is 0'),
    (dict(num_images=3), '`num_images` is 3'),
    (dict(patience=1.5), '`patience` is 1.5')])
def test_refused(options, match):
    from repfusion_mm.engine.hooks import FeatureQualityHook
    with pytest.raises(ValueError, match=match):
        FeatureQualityHook(VAL, **options)


def test_best_that_nobody_can_tell(train):
    unlabelled = few(VAL)
    with pytest.raises(ValueError, match="`keep_best` is 'knn'.*'rank'"):
        train(unlabelled, keep_best='knn')


def test_too_few_images(train):
    with pytest.raises(ValueError, match='at least 10 images.*has 5'):
        train(dict(VAL, indices=5))
