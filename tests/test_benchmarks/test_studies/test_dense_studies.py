"""benchmarks/studies/camvid.py and faces.py."""
import copy
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies.study import MIDDLES

ROOT = Path(__file__).resolve().parents[3]
STUDIES = dict(camvid='CamVid', faces='Faces')


def write_camvid(folder, train=8, test=6):
    rng = np.random.default_rng(0)
    for split, names in (
            ('train', [f'0001TP_{i}' for i in range(train)]),
            ('val', [f'0016E5_{i}' for i in range(4)]),
            ('test', [f'0001TP_{100 + i}' for i in range(2)]
             + [f'Seq05VD_{i}' for i in range(test - 2)])):
        for kind in ('images', 'annotations'):
            (folder / kind / split).mkdir(parents=True)
        for name in names:
            image = rng.integers(0, 256, (180, 240, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f'images/{split}/{name}.jpg'), image)
            cv2.imwrite(str(folder / f'annotations/{split}/{name}.png'),
                        image[..., 0] % 11)


def write_faces(folder, people=20, test=6):
    rng = np.random.default_rng(0)
    (folder / 'annotations').mkdir(parents=True)
    for split, names in (('train', [f'p{i // 2:02}' for i in range(people)]),
                         ('test', [f'q{i}' for i in range(test)])):
        (folder / 'images' / split).mkdir(parents=True)
        images, annotations = [], []
        for index, name in enumerate(names):
            file = f'{split}/{index:05}.jpg'
            cv2.imwrite(str(folder / 'images' / file), rng.integers(
                0, 256, (128, 128, 3), dtype=np.uint8))
            images.append(dict(id=index, file_name=file, width=128,
                               height=128, identity=name))
            points = rng.integers(30, 100, (68, 2)).tolist()
            annotations.append(dict(
                id=index, image_id=index, category_id=1, iscrowd=0,
                num_keypoints=68, area=70 * 70, bbox=[30, 30, 70, 70],
                keypoints=[v for x, y in points for v in (x, y, 2)]))
        (folder / f'annotations/{split}.json').write_text(json.dumps(dict(
            images=images, annotations=annotations, categories=[dict(
                id=1, name='face', skeleton=[],
                keypoints=[f'kpt-{i}' for i in range(68)])])))


WRITE = dict(camvid=write_camvid, faces=write_faces)


@pytest.fixture(params=list(STUDIES))
def name(request):
    pytest.importorskip(dict(camvid='mmseg', faces='mmpose')[request.param])
    return request.param


@pytest.fixture
def module(name):
    return importlib.import_module(f'benchmarks.studies.{name}')


@pytest.fixture
def make(name, module, tmp_path):
    """A study whose diffusion model, tap and probe are there."""
    WRITE[name](tmp_path / 'data')
    dpm = tmp_path / 'dpm' / 'unet'
    dpm.mkdir(parents=True)
    (dpm / 'config.json').write_text('{}')

    def build(*arguments):
        args = module.parse_args([
            '--data', str(tmp_path / 'data'), '--out', str(tmp_path / 'out'),
            '--dpm', str(dpm.parent), '--labels', '2', '4', *arguments])
        study = getattr(module, STUDIES[name])(args)
        study.__dict__.update(
            tap=dict(tap='mid_block.resnets.1'),
            _probe=dict(score=[t == 275 for t in MIDDLES]))
        return study

    return build


@pytest.fixture
def study(make):
    return make()


def tuned(study, arm, labels=2, seed=7, budget='finetune', **choice):
    return study.finetune(arm, labels, seed, lr=0.001, budget=budget,
                          **choice)


def build(dataset, scope):
    from mmengine.registry import DATASETS, DefaultScope
    with DefaultScope.overwrite_default_scope(scope):
        return DATASETS.build(dataset)


# --- splits -----------------------------------------------------------------
def images_of(name, out, split):
    if name == 'camvid':
        return (out / f'{split}.txt').read_text().splitlines()
    return [image['file_name'] for image in json.loads(
        (out / f'{split}.json').read_text())['images']]


def test_splits_share_nothing(name, study):
    splits = {split: set(images_of(name, study.out, split))
              for split in ('train', 'val', 'test')}
    assert all(splits.values())
    assert not splits['train'] & splits['val']
    assert not (splits['train'] | splits['val']) & splits['test']
    assert study.num_train == len(splits['train'])
    assert set(images_of(name, study.out, 'pictures')) <= splits['test']
    # the diffusion model sees training images only
    unlabelled = (study.out / 'unlabelled.txt').read_text().splitlines()
    stems = {Path(path).stem for path in unlabelled}
    assert stems == {Path(path).stem for path in splits['train']}


def test_no_person_is_in_two_splits(tmp_path, monkeypatch):
    from benchmarks.studies import faces
    write_faces(tmp_path / 'data')
    splits = faces.list_images(str(tmp_path / 'data'), tmp_path / 'out')
    people = [{image['identity'] for image in splits[split]['images']}
              for split in ('train', 'val', 'test')]
    assert sum(map(len, people)) == len(set().union(*people))
    for split in splits.values():
        assert {one['image_id'] for one in split['annotations']} == {
            image['id'] for image in split['images']}


def test_new_sequence(tmp_path, monkeypatch):
    """What shares no sequence with training."""
    from benchmarks.studies import camvid
    write_camvid(tmp_path / 'data')
    lists = camvid.list_images(str(tmp_path / 'data'), tmp_path / 'out')
    assert lists['new_sequence'] == [f'test/Seq05VD_{i}' for i in range(4)]
    assert len(lists['test']) == 6


@pytest.mark.parametrize('path, match', [
    ('annotations/train/0001TP_3.png', 'no mask for 0001TP_3'),
    ('images/val', '0 images in images/val')])
def test_missing_files_of_camvid(path, match, tmp_path, monkeypatch):
    import shutil

    from benchmarks.studies import camvid
    write_camvid(tmp_path)
    gone = tmp_path / path
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(SystemExit, match=match):
        camvid.list_images(str(tmp_path), tmp_path / 'out')


def test_missing_identity(tmp_path, monkeypatch):
    from benchmarks.studies import faces
    write_faces(tmp_path)
    path = tmp_path / 'annotations/test.json'
    coco = json.loads(path.read_text())
    del coco['images'][2]['identity']
    path.write_text(json.dumps(coco))
    with pytest.raises(SystemExit, match='00002.jpg in .* has no `identity`'):
        faces.list_images(str(tmp_path), tmp_path / 'out')


# --- a fair comparison ------------------------------------------------------
def test_same_batches_and_budgets(study):
    jobs = [tuned(study, arm, t=75 if arm == 'fixed' else None)
            for arm in ('scratch', 'fixed', 'uniform', 'reinforced')]
    for cfg in [job.cfg for job in jobs[1:]]:
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper',
                    'param_scheduler', 'randomness', 'test_dataloader',
                    'data_preprocessor'):
            assert cfg.get(key) == jobs[0].cfg.get(key), key
    firsts = [job.before.cfg for job in jobs[1:]]
    # the student learns alike; the policy, which the others lack, more slowly
    slower = firsts[-1].optim_wrapper.pop('paramwise_cfg')
    assert slower.to_dict() == dict(custom_keys=dict(
        time_sampler=dict(lr_mult=0.1)))
    assert firsts[-1].model.reward.type == 'repfusion_mm.HeldOutReward'
    for cfg in firsts[1:]:
        for key in ('train_cfg', 'optim_wrapper', 'param_scheduler'):
            assert cfg[key] == firsts[0][key], key
    # stage 2 differs in the checkpoint that it starts from alone
    models, starts = [], []
    for job in jobs:
        model = copy.deepcopy(job.cfg.model.to_dict())
        student = model['backbone'].get('backbone_cfg', model['backbone'])
        starts.append(student.pop('init_cfg', None))
        models.append(model)
    assert models[0] == models[1] == models[2] == models[3]
    assert starts[0] is None
    assert [start['checkpoint'] for start in starts[1:]] == [
        job.before.weights for job in jobs[1:]]
    # and the student of stage 1 is that of stage 2
    for cfg in firsts:
        assert cfg.model.backbone.to_dict() == dict(
            student, type=cfg.model.backbone.type)


def test_as_many_steps_as_both_stages(study):
    job = tuned(study, 'reinforced')
    steps = sum(one.cfg.train_cfg.max_iters for one in (job, job.before))
    for arm in ('scratch_long', 'joint'):
        assert tuned(study, arm, budget='both').cfg.train_cfg.max_iters == \
            steps


def told_images(dataset, scope, ignore=()):
    """Paths of all images, and how often each labelled one is drawn."""
    from repfusion_mm.models.labels import labelled_mask
    dataset = build(dataset, scope)
    told = labelled_mask([dataset[i]['data_samples']
                          for i in range(len(dataset))])
    paths = [dataset.get_data_info(i)['img_path']
             for i in range(len(dataset))]
    return paths, [paths[i] for i in np.flatnonzero(told)]


def test_same_labels_everywhere(name, study):
    scope = dict(camvid='mmseg', faces='mmpose')[name]
    job = tuned(study, 'reinforced')
    _, wanted = told_images(job.cfg.train_dataloader.dataset, scope)
    assert len(set(wanted)) == 2
    for cfg, share in ((job.before.cfg, study.labelled_share),
                       (tuned(study, 'joint').cfg, 0.5)):
        paths, told = told_images(cfg.train_dataloader.dataset, scope)
        assert set(told) == set(wanted)
        assert abs(len(told) / len(paths) - share) < 0.15
        assert len(set(paths)) == study.num_train


def test_what_needs_no_labels_sees_none(name, study):
    scope = dict(camvid='mmseg', faces='mmpose')[name]
    for arm, choice in (('t0', {}), ('uniform', {}), ('fixed', dict(t=75))):
        two, four = (tuned(study, arm, labels, **choice)
                     for labels in (2, 4))
        assert two.before is four.before and two.key != four.key
    paths, told = told_images(two.before.cfg.train_dataloader.dataset, scope)
    assert not told and len(paths) == study.num_train


def test_joint_sees_as_many_labels_a_step(study):
    batches = [tuned(study, arm).cfg.train_dataloader.batch_size
               for arm in ('scratch', 'joint')]
    assert batches[1] == 2 * batches[0]  # half of them unlabelled


def test_labels_of_validation_are_where_the_image_is(name, study):
    """Whatever the test wants, a probe reads them from the input."""
    scope = dict(camvid='mmseg', faces='mmpose')[name]
    sample = build(study.val_images(), scope)[0]
    shape = tuple(sample['inputs'].shape[1:])
    if name == 'camvid':
        assert tuple(sample['data_samples'].gt_sem_seg.data.shape[1:]) == shape
        assert shape == study.size['scale'][::-1]
    else:
        points = sample['data_samples'].gt_instances.transformed_keypoints
        assert shape == (64, 64) and points.min() >= 0 and points.max() < 64


def test_images_of_the_diffusion_model_have_its_side(study):
    cfg = study.dpm_config()
    sample = build(cfg.train_dataloader.dataset, 'mmpretrain')[0]
    side = cfg.model.denoiser.sample_size
    assert tuple(sample['inputs'].shape) == (3, side, side)


def test_float32(make):
    """Neither teacher nor student computes in bfloat16."""
    for study, is_float32 in ((make(), False), (make('--float32'), True)):
        job = tuned(study, 'uniform')
        for one in (job, job.before):
            assert ('type' not in one.cfg.optim_wrapper) == is_float32
        assert ('dtype' not in job.before.cfg.model.teacher) == is_float32


def test_models_are_built(study):
    from mmengine.registry import MODELS, DefaultScope
    job = tuned(study, 'reinforced')
    for one in (job, job.before, tuned(study, 'constant').before,
                tuned(study, 'joint')):
        cfg = copy.deepcopy(one.cfg)
        if 'teacher' in cfg.model:
            cfg.model.teacher.update(
                pretrained=None, config={
                    key: value
                    for key, value in study.size['denoiser'].items()
                    if key != '_delete_'})
        if cfg.model.get('backbone', {}).get('init_cfg'):
            cfg.model.backbone.init_cfg = None
        defaults = {key: cfg[key] for key in ('data_preprocessor', )
                    if key in cfg and key not in cfg.model}
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            MODELS.build(cfg.model, default_args=defaults)


def test_jobs_depend_on_what_they_start_from(study):
    job = tuned(study, 'reinforced')
    assert job._inputs == [job.before.key]
    assert job.before._inputs == [study.dpm.key]
    assert tuned(study, 'joint')._inputs == [study.dpm.key]


def test_pictures_of_the_first_seed(study):
    first = study.args.first_seed
    for labels, seed, shown in ((2, first, 'pictures'), (4, first, None),
                                (2, first + 1, None)):
        assert tuned(study, 'scratch', labels, seed).shown == shown


def test_help(name):
    done = subprocess.run(
        [sys.executable, '-m', f'benchmarks.studies.{name}', '--help'],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = ' '.join(done.stdout.split())
    wanted = dict(camvid='masks that are labelled, or "all" (default: 12 23)',
                  faces='annotated faces that are labelled, or "all" '
                  '(default: 27 54)')[name]
    assert wanted in text


# --- all of it --------------------------------------------------------------
@pytest.mark.slow
def test_whole(name, tmp_path):
    WRITE[name](tmp_path / 'data', train=24) if name == 'camvid' else \
        WRITE[name](tmp_path / 'data', people=60)

    def run():
        done = subprocess.run(
            [sys.executable, '-m', f'benchmarks.studies.{name}', '--data',
             str(tmp_path / 'data'), '--out', str(tmp_path / 'out'),
             '--size', 'toy', '--labels', '12', '--seeds', '1', '--threads',
             '1', '--arms', 'scratch', 'scratch_long', 'fixed', 'reinforced',
             'joint'],
            cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)},
            capture_output=True, text=True)
        log = tmp_path / 'out' / 'log.txt'
        assert done.returncode == 0, done.stderr[-2000:] + (
            log.read_text()[-500:] if log.exists() else '')
        jobs = {path.stem: path.read_text()
                for path in (tmp_path / 'out' / 'jobs').glob('*.json')}
        return jobs, json.loads((tmp_path / 'out/report.json').read_text())

    jobs, report = run()
    assert [row['arm'] for row in report['results']] == [
        'scratch', 'scratch_long', 'fixed', 'reinforced', 'joint']
    metrics = {'mIoU', 'mIoU of Seq05VD'} if name == 'camvid' else {'NME'}
    for row in report['results']:
        assert set(row) - {'stage_1'} == {'labels', 'arm', 'seeds', *metrics}
        assert np.isfinite([row[metric] for metric in metrics]).all()
        # a look; two steps are too few for a record of what was drawn
        assert ('stage_1' in row) == (row['arm'] in ('reinforced', 'joint'))
    assert {row['metric'] for row in report['differences']} == metrics
    assert cv2.imread(str(tmp_path / 'out/pictures.png')).std() > 0
    # nothing is left to be done
    again, other = run()
    assert again == jobs and other == report
