import json
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
def data(module, tmp_path):
    """Ten classes of files, each of a colour of its own."""
    import cv2
    for split, number in (('train', 12), ('test', 4)):
        for label, name in enumerate(module.CLASSES):
            folder = tmp_path / 'data' / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                image = np.zeros((32, 32, 3), np.uint8)
                image[..., 2] = 20 * label + i + 1  # OpenCV writes BGR
                cv2.imwrite(str(folder / f'{i:04}.png'), image)
            (folder / 'readme.txt').touch()
    return tmp_path / 'data'


@pytest.fixture
def make(module, data, tmp_path):
    """A study whose diffusion model, tap and probe are there."""
    dpm = tmp_path / 'dpm'
    (dpm / 'unet').mkdir(parents=True)
    (dpm / 'unet' / 'config.json').write_text('{}')

    def build(out='out', *arguments, data=data):
        args = module.parse_args([
            '--size', 'toy', '--data', str(data), '--out',
            str(tmp_path / out), '--dpm', str(dpm), '--labels', '2', '4',
            *arguments])
        study = module.Cifar10(args)
        study.__dict__.update(
            tap=dict(tap='mid_block.resnets.1'),
            _probe=dict(score=[t == 275 for t in module.MIDDLES]))
        return study

    return build


# --- images -----------------------------------------------------------------
def test_splits(module, data, tmp_path):
    out = tmp_path / 'npz'
    out.mkdir()
    module.write_images(data, out, 16, 5, 3, 4)
    for split, wanted in dict(train=[0, 1, 2, 3, 4], val=[9, 10, 11],
                              test=[0, 1, 2, 3]).items():
        found = np.load(out / f'{split}.npz')
        assert found['images'].shape == (10 * len(wanted), 16, 16, 3)
        # RGB: what was written in red
        reds = found['images'][:, 0, 0, 0].astype(int)
        assert (found['images'][..., 1:] == 0).all()
        for label in range(10):
            numbers = reds[found['labels'] == label] - 20 * label - 1
            assert sorted(numbers) == wanted


def test_other_images_are_decoded_anew(make, data):
    """In the same folder; and they are what every job depends on."""
    study = make()
    assert make().inputs == study.inputs
    before = np.load(study.annotations('test'))['labels']
    (data / 'test' / 'frog' / '0001.png').unlink()
    other = make()
    assert other.inputs != study.inputs
    after = np.load(other.annotations('test'))['labels']
    assert len(before) == 40 and len(after) == 39


@pytest.mark.parametrize('split', ['train', 'test'])
def test_missing_class(module, data, tmp_path, split):
    for path in (data / split / 'frog').iterdir():
        path.unlink()
    with pytest.raises(SystemExit, match=f'--data: 0 images in .*{split}/'
                       'frog, at least'):
        module.write_images(data, tmp_path, 16, 5, 3, 4)


# --- configs ----------------------------------------------------------------
def labels_of(dataset):
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import DATASETS
    init_default_scope('mmpretrain')
    dataset = DATASETS.build(dataset)
    return [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]


def tuned(study, arm, labels=2, seed=7, **choice):
    return study.finetune(arm, labels, seed, lr=0.001, budget='finetune',
                          **choice)


def test_the_same_labels_in_both_stages(make):
    study = make()
    job = tuned(study, 'reinforced')
    few = job.cfg.train_dataloader.dataset
    assert sorted(labels_of(few.to_dict())) == sorted(2 * list(range(10)))
    parts = job.before.cfg.train_dataloader.dataset.datasets
    assert set(labels_of(parts[0].to_dict())) == {-1}
    assert parts[1].dataset == few
    assert job.before.cfg.model.time_sampler.look == dict(temperature=0.1)
    keys = job.before.cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert keys == dict(time_sampler=dict(lr_mult=0.1))


def test_stage_1_without_labels_is_shared(make):
    study = make()
    for arm, choice in (('t0', {}), ('uniform', {}), ('fixed', dict(t=75))):
        two, four = (tuned(study, arm, labels, **choice)
                     for labels in (2, 4))
        assert two.before is four.before and two.key != four.key
        dataset = two.before.cfg.train_dataloader.dataset.to_dict()
        assert set(labels_of(dataset)) == {-1}
    two, four = (tuned(study, 'reinforced', labels) for labels in (2, 4))
    assert two.before.key != four.before.key


def test_arms_differ_in_their_start_alone(make):
    study = make()
    configs = {arm: tuned(study, arm).cfg for arm in (
        'scratch', 't0', 'uniform', 'reinforced')}
    starts, rests = set(), set()
    for arm, cfg in configs.items():
        model = cfg.model.to_dict()
        init = model['backbone'].pop('init_cfg', None)
        assert (init is None) == (arm == 'scratch')
        starts.add(init and init['checkpoint'])
        rests.add(str([model, cfg.train_dataloader, cfg.param_scheduler,
                       cfg.optim_wrapper, cfg.randomness]))
    assert len(rests) == 1 and len(starts) == 4


def test_keys_know_no_folder(make, data, tmp_path):
    """A score is found on another machine, where all lies elsewhere."""
    other = tmp_path / 'elsewhere'
    data.rename(other)
    one, two = (tuned(make(out, data=other), 'reinforced')
                for out in ('a', 'b'))
    assert one.weights != two.weights and one.key == two.key
    assert tuned(make('a', data=other), 'reinforced', seed=8).key != one.key
    assert str(tmp_path) not in one._text


def test_a_changed_start_is_another_job(make):
    study = make()
    job = tuned(study, 'uniform')
    study.size['distill']['lr'] = 0.5
    study.distill.cache_clear()
    study.finetune.cache_clear()
    assert tuned(study, 'uniform').key != job.key
    assert tuned(study, 'scratch').before is None


def test_long_scratch_has_the_steps_of_both_stages(make):
    study = make()
    both = study.finetune('scratch_long', 2, 7, lr=0.001, budget='both')
    job = tuned(study, 'uniform')
    assert both.cfg.train_cfg.max_iters == \
        job.cfg.train_cfg.max_iters + job.before.cfg.train_cfg.max_iters


def test_what_sees_no_labels(make, monkeypatch):
    study = make()
    monkeypatch.setattr(study.args, 'dpm', None)
    dataset = study.dpm.cfg.train_dataloader.dataset.to_dict()
    assert set(labels_of(dataset)) == {-1} and len(labels_of(dataset)) == 80


def test_the_classifier_has_the_same_labels(make):
    job = tuned(make(), 'classifier')
    teacher = job.before.before
    assert teacher.cfg.train_dataloader.dataset == \
        job.cfg.train_dataloader.dataset


@pytest.mark.parametrize('job', ['dpm', 'uniform', 'classifier', 'scratch'])
def test_colours(make, monkeypatch, job):
    """A red image is red to whoever looks at it."""
    import torch
    from mmengine.dataset import default_collate
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import DATASETS, MODELS

    from repfusion_mm.models.utils.building import preprocessor_config
    from repfusion_mm.models.utils.raw_images import raw_images
    study = make()
    if job == 'dpm':
        monkeypatch.setattr(study.args, 'dpm', None)
        cfg = study.dpm.cfg
    else:
        cfg = tuned(study, job)
        cfg = (cfg.before or cfg).cfg
    init_default_scope('mmpretrain')
    image = DATASETS.build(study.images('test', False))[0]
    chosen = cfg.model.get('data_preprocessor') or cfg.get(
        'data_preprocessor')
    preprocessor = MODELS.build(preprocessor_config(chosen))
    inputs = preprocessor(default_collate([image]), True)['inputs']
    seen = raw_images(inputs, preprocessor,
                      cfg.model.get('channel_order', 'rgb'))
    red = torch.as_tensor(image['inputs'])[0].float()
    assert (red > 0).all()
    assert (seen[0, 0] - red).abs().max() < 0.01
    assert seen[0, 1:].abs().max() < 0.01


# --- choices ----------------------------------------------------------------
def test_choices(make, monkeypatch):
    from benchmarks.studies.task_study import SELECTION_SEED
    from benchmarks.studies.training import Training
    study, scores = make(), {}

    def result(self):
        assert f'seed{SELECTION_SEED}' in self.name and self.split == 'val'
        return dict(accuracy=scores.get(self.name, 10.))

    monkeypatch.setattr(Training, 'result', result)
    starts = study.choices.starts
    assert {name: len(trials) for name, trials in starts.items()} == dict(
        scratch=2, scratch_long=2, distilled=4)
    scores[starts['scratch'][0.002, 'finetune'].name] = 20.
    scores[starts['distilled'][0.001, 'both'].name] = 30.
    assert study.choices.of('scratch') == (0.002, 'finetune')
    for arm in ('fixed', 'reinforced', 'uniform'):
        assert study.choices.of(arm) == (0.001, 'both')
    times = study.choices.times
    assert list(times)[0] == 275 and len(times) == 2  # the probe's first
    scores[times[list(times)[1]].name] = 40.
    assert study.choices.t() == list(times)[1]
    assert study.choices.record()['fixed t']['chosen'] == list(times)[1]


def test_chosen_before(make, monkeypatch, tmp_path):
    from benchmarks.studies.run import trials
    from benchmarks.studies.training import Training
    chosen = dict(scratch=dict(chosen=[0.5, 'finetune'], tried=[]),
                  distilled=dict(chosen=[0.25, 'both'], tried=[]),
                  tap=dict(tap='mid_block.resnets.0'))
    path = tmp_path / 'chosen.json'
    path.write_text(json.dumps(chosen))
    monkeypatch.setattr(Training, 'result', lambda self: dict(accuracy=1.))
    study = make('out', '--chosen', str(path))
    # what it does not hold is tried
    assert list(study.choices.starts) == ['scratch_long']
    assert study.choices.of('uniform') == (0.25, 'both')
    job = study.finetune('scratch', 2, 100)
    assert job.cfg.optim_wrapper.optimizer.lr == 0.5
    assert len(study.choices.times) == 2
    record = study.choices.record()
    assert record['distilled'] == chosen['distilled'] and 'fixed t' in record
    del study.__dict__['tap']
    assert study.tap == chosen['tap']

    path.write_text(json.dumps({**record, 'fixed t': dict(chosen=425)}))
    study = make('out', '--chosen', str(path))
    assert not trials([*study.choices.starts.values(), study.choices.times])
    assert study.choices.t() == 425
    assert study.finetune('fixed', 2, 100).before.cfg.model.time_sampler.t \
        == 425


def test_the_chosen_ones_that_are_kept(make):
    path = ROOT / 'benchmarks' / 'results' / 'cifar10_16px_chosen.json'
    study = make('out', '--chosen', str(path))
    for arm in ('scratch', 'scratch_long', 'reinforced'):
        lr, length = study.choices.of(arm)
        assert lr > 0 and length in ('finetune', 'both')
    assert study.choices.given['tap']['tap'].startswith('up_blocks')


# --- several processes ------------------------------------------------------
class Job:
    """Is another process's for so many attempts."""

    def __init__(self, busy=0, name=''):
        self.busy, self.name, self.is_finished, self.asked = busy, name, 0, 0

    def result(self):
        self.asked += 1
        if self.busy:
            self.busy -= 1
            raise BlockingIOError
        self.is_finished = True


def test_what_others_do_is_not_waited_for():
    from benchmarks.studies.run import Queue
    needed, spare = [Job(), Job(2), Job()], [Job(), Job()]
    waits = []
    lefts = []
    Queue(sleep=waits.append).finish(needed, spare, lefts.append)
    assert lefts == [3, 2, 1, 0]  # told as each of them ends
    assert all(job.is_finished for job in needed)
    assert spare[0].is_finished and not waits
    Queue(sleep=waits.append).finish([Job(2)])
    assert len(waits) == 2


def test_nothing_begins_after_the_end():
    from benchmarks.studies.run import Queue, TimeIsUp
    done, job, now = Job(), Job(), SimpleNamespace(time=0)
    done.is_finished = True
    queue = Queue(end=5, clock=lambda: now.time)
    queue.finish([done, Job()])
    now.time = 6
    queue.finish([done])
    with pytest.raises(TimeIsUp):
        queue.finish([done, job])
    assert not job.asked


# --- the report -------------------------------------------------------------
def test_lower_bound():
    from benchmarks.lib.paired import lower_bound
    one, other = [40., 39., 42.], [30., 34., 29.]
    gain = np.subtract(one, other)
    wanted = gain.mean() - stats.t.ppf(0.95, 2) * stats.sem(gain)
    assert lower_bound(one, other) == pytest.approx(wanted, abs=0.006)
    assert lower_bound([1.], [2.]) is None


def test_decisions():
    from benchmarks.lib.paired import Criterion, lower_bound
    from benchmarks.studies.study_report import decisions
    rows = [dict(labels=2, arm=arm, seeds=seeds, accuracy=values)
            for arm, seeds, values in (
                ('scratch', [1, 2, 3], [30., 31., 32.]),
                ('scratch_long', [1, 2, 3], [33., 33., 35.]),
                ('reinforced', [2, 3], [40., 41.]))]
    study = SimpleNamespace(
        metric='accuracy', higher_is_better=True, criteria=[
            Criterion('reinforced', ('scratch', 'scratch_long'), 3.),
            Criterion('reinforced', ('fixed', ), 0.)])
    row, = decisions(rows, study)
    # the better one, and of it the seeds that both have
    assert row['over'] == 'scratch_long' and row['seeds'] == 2
    assert row['mean'] == 6.5
    assert row['bound'] == lower_bound([40., 41.], [33., 35.])
    assert row['met'] == (row['bound'] > 3)


def test_beside(make, tmp_path):
    """Arms of an earlier report, but those that were run anew."""
    from benchmarks.studies.study_report import write_report
    path, chosen = tmp_path / 'before.json', dict(
        scratch=dict(chosen=[0.5, 'finetune']),
        scratch_long=dict(chosen=[0.5, 'both']),
        distilled=dict(chosen=[0.5, 'finetune']),
        **{'fixed t': dict(chosen=25)})
    before = [dict(labels=2, arm=arm, seeds=[1, 2, 3], accuracy=values)
              for arm, values in (('fixed', [30., 31., 32.]),
                                  ('reinforced', [0., 0., 0.]))]
    path.write_text(json.dumps(dict(results=before, chosen=chosen)))
    study = make('out', '--chosen', str(path), '--beside', str(path))
    report = write_report(study, {(2, 'reinforced'): {
        2: dict(accuracy=33.), 3: dict(accuracy=36.)}})
    assert [(row['arm'], row.get('beside')) for row in report['results']] == [
        ('reinforced', None), ('fixed', True)]
    difference, = report['differences']
    assert (difference['mean'], difference['seeds']) == (3., 2)
    decided, = report['decided']
    assert decided['over'] == 'fixed' and decided['mean'] == 3.


# --- arguments --------------------------------------------------------------
def test_help():
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.studies.cifar10', '--help'],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for option in ('--data', '--dpm', '--labels', '--processes', '--fill'):
        assert option in done.stdout


@pytest.mark.parametrize('arguments, message', [
    (['--first-seed', '0'], 'choices on validation'),
    (['--labels', '1.5'], 'neither a number above 0 nor "all"')])
def test_refused(module, capsys, arguments, message):
    with pytest.raises(SystemExit):
        module.parse_args(arguments)
    assert message in capsys.readouterr().err


def test_configs_exist(module):
    for arm, config in module.ARMS.items():
        assert 'scratch' in arm or (
            ROOT / 'configs' / 'distill' / f'{config}.py').exists()


# --- all of it --------------------------------------------------------------
@pytest.mark.slow
def test_toy(data, tmp_path):
    """Through the real Runner, by two processes."""
    import json
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.studies.cifar10', '--size', 'toy',
         '--data', str(data), '--out', str(tmp_path / 'out'), '--labels', '2',
         '--seeds', '1', '--arms', 'scratch', 'fixed', 'auto', 'reinforced',
         '--threads', '1', '--processes', '2', '--fill'],
        capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert [row['arm'] for row in report['results']] == [
        'scratch', 'fixed', 'auto', 'reinforced']
    assert report['chosen']['tap']['tap']
    for row in report['results'][2:]:
        assert row['stage_1'][0]['looked_t'] % 50 == 25
