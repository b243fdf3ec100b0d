import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def module():
    from benchmarks.studies import cifar10
    return cifar10


@pytest.fixture
def report():
    from benchmarks.studies import study_report
    return study_report


@pytest.fixture
def data(module, tmp_path):
    """Names of images; none is opened."""
    for split, number in (('train', 12), ('test', 4)):
        for name in module.CLASSES:
            folder = tmp_path / 'data' / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                (folder / f'{i:04}.{"png" if i % 2 else "jpg"}').touch()
            (folder / 'readme.txt').touch()
    return tmp_path / 'data'


# --- lists of images --------------------------------------------------------
def read(out, split):
    return [line.rsplit(' ', 1) for line in
            (out / f'{split}.txt').read_text().splitlines()]


def test_splits(module, data, tmp_path):
    out = tmp_path / 'out'
    module.list_images(str(data), out, 5, 3, 4)
    lists = {split: read(out, split) for split in ('train', 'val', 'test')}
    assert {split: len(rows) for split, rows in lists.items()} == dict(
        train=50, val=30, test=40)
    paths = [path for rows in lists.values() for path, _ in rows]
    assert len(set(paths)) == 120  # none is in two lists
    for split, rows in lists.items():
        for path, label in rows:
            folder, name, file = path.split('/')
            assert folder == ('test' if split == 'test' else 'train')
            assert module.CLASSES[int(label)] == name
            assert (data / path).exists() and not file.endswith('.txt')
        numbers = {label: sorted(int(path[-8:-4]) for path, one in rows
                                 if one == label) for _, label in rows}
        # validation: the last of training; training: the first ones
        wanted = dict(train=[0, 1, 2, 3, 4], val=[9, 10, 11],
                      test=[0, 1, 2, 3])[split]
        assert len(numbers) == 10
        assert all(found == wanted for found in numbers.values())


def test_training_never_takes_validation_images(module, data, tmp_path):
    module.list_images(str(data), tmp_path / 'all', 1000, 3, 1000)
    module.list_images(str(data), tmp_path / 'few', 2, 3, 1)
    assert len(read(tmp_path / 'all', 'train')) == 90
    for split, same in (('val', True), ('train', False), ('test', False)):
        assert (read(tmp_path / 'all', split) == read(
            tmp_path / 'few', split)) == same
    assert not {tuple(row) for row in read(tmp_path / 'all', 'train')} & {
        tuple(row) for row in read(tmp_path / 'few', 'val')}


def test_lists_are_mixed_and_the_same(module, data, tmp_path):
    for name in 'ab':
        module.list_images(str(data), tmp_path / name, 5, 3, 4)
    train = read(tmp_path / 'a', 'train')
    assert train == read(tmp_path / 'b', 'train')
    assert len({label for _, label in train[:10]}) > 3


@pytest.mark.parametrize('split', ['train', 'test'])
def test_missing_class(module, data, tmp_path, split):
    for path in (data / split / 'frog').iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=f'--data: 0 images in .*{split}/'
                       'frog, at least'):
        module.list_images(str(data), tmp_path / 'out', 5, 3, 4)


# --- configs ----------------------------------------------------------------
class Fits(list):
    """Stands for Study.fit: keeps the configs and trains nothing."""

    def __call__(self, name, stage, cfg, test_split=None, after=''):
        self.append(SimpleNamespace(name=name, stage=stage, cfg=cfg,
                                    split=test_split, after=after))
        weights = f'/nowhere/{name}/iter_1.pth'
        return (weights if test_split is None else
                [dict(accuracy=50.), weights]), \
            f'key of {name}'

    def last(self, stage):
        return [one for one in self if one.stage == stage][-1]


@pytest.fixture
def study(module, data, tmp_path, monkeypatch):
    monkeypatch.setitem(module.SIZES['smoke'], 'images_per_class', 8)
    monkeypatch.setitem(module.SIZES['smoke'], 'val_per_class', 3)
    args = module.parse_args([
        '--data', str(data), '--out', str(tmp_path / 'out')])
    study = module.Cifar10(args)
    study.fit = Fits()
    return study


def test_one_seed_one_stage(module, study):
    """All arms see the same batches and labels and have the same budget."""
    stages = {}
    arms = [arm for arm in module.ARMS if arm != 'scratch_long']
    for arm in arms:
        study.finetune(arm, 25, 7, choice=100 if arm in module.Cifar10.choices
                       else None)
        for stage in ('distill', 'finetune'):
            if (arm, stage) == ('scratch', 'distill'):
                continue
            fit = study.fit.last(stage)
            assert arm in fit.name and 'seed7' in fit.name
            stages.setdefault(stage, {})[arm] = fit.cfg
    for stage, cfgs in stages.items():
        first = next(iter(cfgs.values()))
        assert first.randomness.seed == 7
        for arm, cfg in cfgs.items():
            for key in ('train_dataloader', 'train_cfg', 'optim_wrapper',
                        'param_scheduler', 'randomness', 'default_hooks',
                        'test_dataloader', 'data_preprocessor'):
                assert cfg.get(key) == first.get(key), (stage, arm, key)
    backbones = {str(cfg.model.backbone)
                 for cfg in stages['distill'].values()}
    assert len(backbones) == 1

    # stage 2 differs in the checkpoint that it starts from, and nothing else
    starts, rests = set(), set()
    for arm, cfg in stages['finetune'].items():
        model = copy.deepcopy(cfg.model.to_dict())
        init = model['backbone'].pop('init_cfg', None)
        assert (init is None) == (arm == 'scratch')
        if init:
            assert init['prefix'] == 'backbone.'
            starts.add(init['checkpoint'])
        rests.add(str(model))
    assert len(rests) == 1 and len(starts) == len(arms) - 1


def test_bank_is_fixed_t_on_whole_images(study):
    study.distill('fixed', 25, 7, 30)
    fixed = study.fit.last('distill').cfg.model
    study.distill('bank', 25, 7, 30)
    bank = study.fit.last('distill').cfg.model
    assert bank.teacher.teacher == fixed.teacher
    assert bank.teacher.timesteps == [bank.time_sampler.t] == [30]
    whole = study.images('train', False)
    assert bank.teacher.dataset.to_dict() == whole
    assert not any('Random' in step['type'] for step in whole['pipeline'])
    assert {**bank, 'teacher': None} == {**fixed, 'teacher': None}


def test_scratch_long_has_the_steps_of_both_stages(study):
    study.finetune('uniform', 25, 7)
    steps = sum(study.fit.last(stage).cfg.train_cfg.max_iters
                for stage in ('distill', 'finetune'))
    study.finetune('scratch_long', 25, 7)
    cfg = study.fit.last('finetune').cfg
    assert cfg.train_cfg.max_iters == steps
    assert cfg.model.backbone.get('init_cfg') is None


def test_seeds_differ(study):
    cfgs = []
    for seed in (7, 8):
        study.finetune('uniform', 25, seed)
        cfgs.append([study.fit.last(stage).cfg
                     for stage in ('distill', 'finetune')])
    for one, two in zip(*cfgs):
        assert one.randomness.seed == 7 and two.randomness.seed == 8
        assert one.train_dataloader != two.train_dataloader


def labels_of(dataset):
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import DATASETS
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(dataset)
    return [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]


@pytest.mark.parametrize('percent, labelled, unlabelled', [
    (25, 20, 60), (50, 40, 40), (100, 80, 0)])
def test_labels(study, percent, labelled, unlabelled):
    study.finetune('uniform', percent, 7)
    tuned = study.fit.last('finetune').cfg.train_dataloader.dataset
    labels = labels_of(tuned.to_dict())
    assert sorted(labels) == sorted(list(range(10)) * (labelled // 10))
    parts = study.fit.last('distill').cfg.train_dataloader.dataset.datasets
    assert labels_of(parts[0].to_dict()) == [-1] * unlabelled
    # the very labels that fine-tuning sees
    assert parts[1].dataset == tuned
    if unlabelled:  # about a quarter of each batch
        share = parts[1].times * labelled
        assert parts[1].times == 1 or \
            0.2 < share / (share + unlabelled) < 0.3


def test_diffusion_model_sees_no_labels(study):
    study.dpm()
    cfg = study.fit.last('dpm').cfg
    assert set(labels_of(cfg.train_dataloader.dataset.to_dict())) == {-1}


def test_classifier_has_the_same_labels(study):
    study.finetune('classifier', 25, 7)
    assert study.fit.last('classifier').cfg.train_dataloader.dataset == \
        study.fit.last('finetune').cfg.train_dataloader.dataset


def test_jobs_depend_on_what_they_start_from(study):
    study.finetune('uniform', 25, 7)
    assert study.fit.last('dpm').after == ''
    assert study.fit.last('distill').after == 'key of dpm'
    distilled = study.fit.last('distill').name
    assert study.fit.last('finetune').after == f'key of {distilled}'
    study.finetune('classifier', 25, 7)
    assert study.fit.last('distill').after == \
        'key of classifier_25percent_seed7'
    study.finetune('scratch', 25, 7)
    assert study.fit.last('finetune').after == ''


def test_best_fixed_t(module, study, monkeypatch):
    scores = {30: 40., 100: 60., 300: 50.}
    calls = []

    def finetune(arm, percent, seed, split='test', choice=None):
        calls.append((arm, seed, split))
        return dict(accuracy=scores[choice])

    from benchmarks.studies.study import SELECTION_SEED
    monkeypatch.setattr(study, 'finetune', finetune)
    assert study.best_choice('fixed', 10) == (100, scores)
    assert study.best_choice('bank', 10) == (100, scores)
    # decided on other images and by another seed than what is reported
    assert set(calls) == {('fixed', SELECTION_SEED, 'val')}
    args = study.args
    assert SELECTION_SEED not in range(
        args.first_seed, args.first_seed + args.seeds)


def test_splits_that_are_tested(study):
    for split in ('val', 'test'):
        study.finetune('scratch', 25, 7, split)
        assert study.fit.last('finetune').split == split


def test_full_size(module, data, tmp_path, monkeypatch):
    """What keeps a GPU busy, and a training that is cut into slices."""
    monkeypatch.setitem(module.SIZES['full'], 'val_per_class', 3)
    study = module.Cifar10(module.parse_args([
        '--size', 'full', '--data', str(data), '--out',
        str(tmp_path / 'full')]))
    study.fit = Fits()
    study.finetune('fixed', 10, 7, choice=100)
    for fit in study.fit:
        loader = fit.cfg.train_dataloader
        assert loader.pin_memory and loader.num_workers > 0
        assert loader.collate_fn.type == 'default_collate'
    dpm, distill = (study.fit.last(name).cfg for name in ('dpm', 'distill'))
    # a slice of minutes takes more steps than from one checkpoint to the next
    assert dpm.default_hooks.checkpoint.interval < dpm.train_cfg.max_iters
    assert dpm.default_hooks.checkpoint.max_keep_ckpts > 1
    assert distill.model.teacher.dtype == 'bfloat16'
    assert dpm.optim_wrapper.type == 'repfusion_mm.BFloat16OptimWrapper'
    assert dpm.optim_wrapper.clip_grad == dict(max_norm=1.)


@pytest.mark.parametrize('job', ['dpm', 'uniform', 'classifier', 'scratch'])
def test_colours(study, data, job):
    """A red file is red to whoever looks at it."""
    import cv2
    import torch
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import DATASETS, MODELS

    from repfusion_mm.models.utils.building import preprocessor_config
    from repfusion_mm.models.utils.raw_images import raw_images
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    for path in data.rglob('*.*g'):
        cv2.imwrite(str(path), red)
    if job == 'dpm':
        study.dpm()
    else:
        study.finetune(job, 25, 7)
    cfg = study.fit.last(
        dict(dpm='dpm', scratch='finetune').get(job, 'distill')).cfg
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(study.images('train', False))  # no padding
    chosen = cfg.model.get('data_preprocessor') or cfg.get(
        'data_preprocessor')
    preprocessor = MODELS.build(preprocessor_config(chosen))
    inputs = preprocessor(pseudo_collate([dataset[0]]), True)['inputs']
    if isinstance(inputs, list):  # MMEngine's base class does not stack
        inputs = torch.stack(inputs)
    seen = raw_images(inputs, preprocessor,
                      cfg.model.get('channel_order', 'rgb'))
    wanted = torch.tensor([255., 0., 0.]).view(1, 3, 1, 1)
    assert (seen - wanted).abs().max() < 8  # what JPEG makes of it


def test_other_images_are_other_inputs(module, data, tmp_path):
    """The lists are what every job depends on."""
    args = module.parse_args(['--size', 'toy', '--data', str(data), '--out',
                              str(tmp_path / 'out')])
    inputs = module.Cifar10(args).inputs
    assert module.Cifar10(args).inputs == inputs
    (data / 'test' / 'frog' / '0001.png').unlink()
    assert module.Cifar10(args).inputs != inputs


# --- arguments --------------------------------------------------------------
def test_help():
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.studies.cifar10', '--help'],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for option in ('--data', '--size', '--out', '--labels', '--seeds',
                   '--first-seed', '--arms', '--threads'):
        assert option in done.stdout


def test_selection_seed_is_not_reported(module, capsys):
    from benchmarks.studies.study import SELECTION_SEED
    with pytest.raises(SystemExit):
        module.parse_args(['--first-seed', str(SELECTION_SEED)])
    assert 'choices on validation' in capsys.readouterr().err


def test_defaults(module):
    args = module.parse_args([])
    assert args.out == 'work_dirs/cifar10_smoke'
    assert set(args.arms) == set(module.ARMS) - {'bank', 'constant'}
    for arm, config in module.ARMS.items():
        assert 'scratch' in arm or (
            ROOT / 'configs' / 'distill' / f'{config}.py').exists()


# --- the report -------------------------------------------------------------
ACCURACY = {
    (1, 'scratch'): [30., 34., 29.], (1, 'uniform'): [35., 36., 37.],
    (1, 'reinforced'): [40., 39., 42.],
    (10, 'scratch'): [60., 61.], (10, 'reinforced'): [66.],
    (100, 'uniform'): [80.]}


def rows_of(scores):
    return [dict(labels_percent=percent, arm=arm, accuracy=values)
            for (percent, arm), values in scores.items()]


def scores_of(values):
    """As the study has them."""
    return {key: [dict(accuracy=value) for value in one]
            for key, one in values.items()}


def test_differences(report):
    rows = {(row['labels_percent'], row['of'], row['over']): row
            for row in report.differences(rows_of(ACCURACY), 'accuracy')}
    assert set(rows) == {
        (1, 'uniform', 'scratch'), (1, 'reinforced', 'scratch'),
        (1, 'reinforced', 'uniform'), (10, 'reinforced', 'scratch')}
    for key, gain in (((1, 'uniform', 'scratch'), [5., 2., 8.]),
                      ((1, 'reinforced', 'scratch'), [10., 5., 13.]),
                      ((1, 'reinforced', 'uniform'), [5., 3., 5.])):
        half = stats.t.ppf(0.975, 2) * stats.sem(gain)
        assert rows[key]['mean'] == pytest.approx(np.mean(gain), abs=0.006)
        assert rows[key]['interval'] == pytest.approx(
            [np.mean(gain) - half, np.mean(gain) + half], abs=0.006)
    # a bank beside the same t without one
    row, = report.differences(rows_of({
        (1, 'fixed'): [50., 52.], (1, 'bank'): [51., 51.]}), 'accuracy')
    assert (row['of'], row['over'], row['mean']) == ('bank', 'fixed', 0.)
    # of a run that goes on: only the seeds that both have
    assert rows[10, 'reinforced', 'scratch']['mean'] == 6.
    assert rows[10, 'reinforced', 'scratch']['interval'] is None


@pytest.fixture
def finished(tmp_path):
    """A study with the records of its policies."""
    jobs = tmp_path / 'jobs'
    for arm, seed, means in (
            ('reinforced', 9, [500., 210.]), ('reinforced', 10, [500., 320.]),
            ('reinforced', 11, [430.]), ('uniform', 9, [500.]),
            ('reinforced', 3, [1.])):
        folder = jobs / f'distill_{arm}_1percent_seed{seed}'
        folder.mkdir(parents=True)
        (folder / 'time_steps.jsonl').write_text(''.join(
            json.dumps(dict(iter=i, mean_t=mean)) + '\n'
            for i, mean in enumerate(means)))
    return SimpleNamespace(
        jobs=jobs, out=tmp_path, seconds=dict(distill=1.234),
        libraries=(),
        args=SimpleNamespace(size='smoke', first_seed=9, seeds=3))


def test_policy_means(report, finished):
    # by seed, and only of the seeds that are reported
    means = report.policy_means(finished, {
        key: values for key, values in ACCURACY.items() if key[0] == 1})
    assert means == {'reinforced, 1 %': [210., 320., 430.]}


def test_report(report, finished):
    accuracy = {key: values for key, values in ACCURACY.items()
                if key[0] == 1}
    report.write_report(finished, scores_of(accuracy),
                        {'fixed': {30: 31., 100: 35.}})
    written = json.loads((finished.out / 'report.json').read_text())
    assert written['size'] == 'smoke'
    assert written['results'] == [
        dict(labels_percent=1, arm=arm, seeds=[9, 10, 11], accuracy=values)
        for (_, arm), values in accuracy.items()]
    assert written['differences'] == report.differences(
        rows_of(accuracy), 'accuracy')
    assert written['validation'] == {'fixed': {'30': 31., '100': 35.}}
    assert written['seconds'] == dict(distill=1.2)
    assert (finished.out / 'report.png').read_bytes()[:4] == b'\x89PNG'


def test_tables(report, finished):
    from rich.console import Console
    console = Console(record=True, width=200, file=open(os.devnull, 'w'))
    report.write_report(finished, scores_of(ACCURACY), {}, console)
    text = console.export_text()
    assert '31.0' in text and '30.0 34.0 29.0' in text  # mean, each seed
    assert f'{np.std([30., 34., 29.], ddof=1):.1f}' in text
    gain = [10., 5., 13.]
    half = stats.t.ppf(0.975, 2) * stats.sem(gain)
    assert f'{np.mean(gain):+.1f}' in text
    assert f'{np.mean(gain) - half:+.1f} to {np.mean(gain) + half:+.1f}' in \
        text


def test_every_arm_has_a_name_and_a_colour(module, report):
    assert set(module.ARMS) < set(report.NAMES) == set(report.COLOURS)


# --- all of it --------------------------------------------------------------
@pytest.mark.slow
def test_whole(module, tmp_path):
    import cv2
    rng = np.random.default_rng(0)
    for split, number in (('train', 12), ('test', 4)):
        for name in module.CLASSES:
            folder = tmp_path / 'data' / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                cv2.imwrite(str(folder / f'{i}.jpg'), rng.integers(
                    0, 256, (32, 32, 3), dtype=np.uint8))

    def run():
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.studies.cifar10', '--size',
             'toy', '--data', str(tmp_path / 'data'),
             '--out', str(tmp_path / 'out'),
             '--labels', '50', '--seeds', '1', '--threads', '1',
             '--arms', 'scratch', 'uniform', 'reinforced'],
            cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)},
            capture_output=True, text=True)
        log = tmp_path / 'out' / 'log.txt'
        assert done.returncode == 0, done.stderr[-2000:] + (
            log.read_text()[-500:] if log.exists() else '')
        jobs = {path.stem: path.read_text()
                for path in (tmp_path / 'out' / 'jobs').glob('*.json')}
        return jobs, json.loads(
            (tmp_path / 'out' / 'report.json').read_text()), done.stdout

    jobs, report, text = run()
    assert set(jobs) == {'dpm'} | {
        f'distill_{arm}_50percent_seed10'
        for arm in ('uniform', 'reinforced')} | {
            f'finetune_{arm}_50percent_seed10_test'
            for arm in ('scratch', 'uniform', 'reinforced')}
    assert [(row['arm'], row['seeds']) for row in report['results']] == [
        (arm, [10]) for arm in ('scratch', 'uniform', 'reinforced')]
    for row in report['results']:
        assert all(0 <= value <= 100 for value in row['accuracy'])
    assert len(report['policy']['reinforced, 50 %']) == 1
    assert set(report['seconds']) == {'dpm', 'distill', 'finetune'}
    assert 'distilled, reinforced t' in text
    assert (tmp_path / 'out' / 'report.png').exists()

    # nothing is left to be done
    again, other, _ = run()
    assert again == jobs and other == report
