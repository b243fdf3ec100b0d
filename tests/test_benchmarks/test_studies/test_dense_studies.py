"""benchmarks/studies/camvid.py and faces.py."""
import copy
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
STUDIES = dict(camvid='CamVid', faces='Faces')


def write_camvid(folder, train=8, test=6):
    rng = np.random.default_rng(0)
    for split, names in (
            ('train', [f'0001TP_{i}' for i in range(train)]),
            ('val', ['0016E5_0', '0016E5_1']),
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


class Fits(list):
    """Stands for Study.fit: keeps the configs and trains nothing."""

    def __call__(self, name, stage, cfg, test_split=None, after='',
                 show=None):
        self.append(SimpleNamespace(name=name, stage=stage, cfg=cfg,
                                    split=test_split, after=after, show=show))
        weights = f'/nowhere/{name}/iter_1.pth'
        return (weights if test_split is None else [{}, weights]), \
            f'key of {name}'

    def last(self, stage):
        return [one for one in self if one.stage == stage][-1]


@pytest.fixture
def study(name, module, tmp_path, monkeypatch):
    WRITE[name](tmp_path / 'data')
    args = module.parse_args(['--data', str(tmp_path / 'data'), '--out',
                              str(tmp_path / 'out'), '--labels', '25'])
    study = getattr(module, STUDIES[name])(args)
    study.fit = Fits()
    return study


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
    stages = {}
    for arm in ('scratch', 'fixed', 'reinforced'):
        study.finetune(arm, 25, 7, choice=50 if arm == 'fixed' else None)
        for stage in ('distill', 'finetune'):
            if (arm, stage) != ('scratch', 'distill'):
                stages.setdefault(stage, []).append(
                    study.fit.last(stage).cfg)
    for stage, cfgs in stages.items():
        for cfg in cfgs[1:]:
            for key in ('train_dataloader', 'train_cfg', 'optim_wrapper',
                        'param_scheduler', 'randomness', 'test_dataloader',
                        'data_preprocessor'):
                assert cfg.get(key) == cfgs[0].get(key), (stage, key)
    # stage 2 differs in the checkpoint that it starts from alone
    models, starts = [], []
    for cfg in stages['finetune']:
        model = copy.deepcopy(cfg.model.to_dict())
        student = model['backbone'].get('backbone_cfg', model['backbone'])
        starts.append(student.pop('init_cfg', None))
        models.append(model)
    assert models[0] == models[1] == models[2]
    assert starts[0] is None and starts[1] != starts[2]
    # and the student of stage 1 is that of stage 2
    for cfg in stages['distill']:
        assert cfg.model.backbone.to_dict() == dict(
            student, type=cfg.model.backbone.type)


def test_as_many_steps_as_both_stages(study):
    study.finetune('reinforced', 25, 7)
    steps = sum(study.fit.last(stage).cfg.train_cfg.max_iters
                for stage in ('distill', 'finetune'))
    for arm in ('scratch_long', 'joint'):
        study.finetune(arm, 25, 7, choice=1. if arm == 'joint' else None)
        assert study.fit.last('finetune').cfg.train_cfg.max_iters == steps


def test_same_labels_everywhere(name, study):
    from repfusion_mm.models.labels import labelled_mask
    scope = dict(camvid='mmseg', faces='mmpose')[name]
    study.finetune('scratch', 25, 7)
    tuned = build(study.fit.last('finetune').cfg.train_dataloader.dataset,
                  scope)
    wanted = {tuned.get_data_info(i)['img_path'] for i in range(len(tuned))}
    assert len(wanted) == round(study.num_train / 4)
    for arm, stage in (('fixed', 'distill'), ('joint', 'finetune')):
        study.finetune(arm, 25, 7, choice=50 if arm == 'fixed' else 1.)
        mixed = build(study.fit.last(stage).cfg.train_dataloader.dataset,
                      scope)
        told = labelled_mask([mixed[i]['data_samples']
                              for i in range(len(mixed))])
        shown = {mixed.get_data_info(i)['img_path']
                 for i in np.flatnonzero(told)}
        assert shown == wanted
        share = study.joint_share if arm == 'joint' else study.labelled_share
        assert abs(float(told.float().mean()) - share) < 0.15
        assert len({mixed.get_data_info(i)['img_path']
                    for i in range(len(mixed))}) == study.num_train


def test_models_are_built(study):
    from mmengine.registry import MODELS, DefaultScope
    for arm, choice in (('reinforced', None), ('joint', 0.1)):
        study.finetune(arm, 25, 7, choice=choice)
        for one in study.fit:
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
    study.finetune('reinforced', 25, 7)
    distilled = study.fit.last('distill')
    assert distilled.after == 'key of dpm'
    assert study.fit.last('finetune').after == f'key of {distilled.name}'
    study.finetune('joint', 25, 7, choice=0.1)
    assert study.fit.last('finetune').cfg.model.distill_weight == 0.1
    assert study.fit.last('finetune').after == 'key of dpm'


def test_pictures_of_the_first_seed(study):
    for seed, show in ((study.args.first_seed, 'pictures'), (3, None)):
        study.finetune('scratch', 25., seed)
        assert study.fit.last('finetune').show == show


def test_lower_is_better(study, monkeypatch):
    scores = {10: 5., 50: 3., 200: 4.}
    monkeypatch.setattr(study, 'finetune', lambda arm, percent, seed, split,
                        choice: {study.metric: scores[choice]})
    best, tried = study.best_choice('fixed', 25)
    assert tried == scores
    assert best == (10 if study.higher_is_better else 50)


def test_help(name):
    done = subprocess.run(
        [sys.executable, '-m', f'benchmarks.studies.{name}', '--help'],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = ' '.join(done.stdout.split())
    assert '--labels' in text and 'default: 6.25 25.0 100.0' in text


# --- all of it --------------------------------------------------------------
WHOLE = """
import sys
from benchmarks.studies import NAME as study
from benchmarks.studies.percent_study import run_study

small = dict(iters=2, batch=4, lr=1e-3)
study.SIZES['smoke'].update(
    dpm=dict(small, ema=0.1), finetune=small, distill=small, fixed_t=[10, 50],
    joint_weight=[1., 0.1],
    student=dict(stem_channels=8, base_channels=8, strides=(1, 2, 2, 1)),
    **({'width': 0.125} if 'NAME' == 'camvid' else {}),
    denoiser=dict(
        _delete_=True, sample_size=64, layers_per_block=1,
        block_out_channels=(8, 8, 16), norm_num_groups=4,
        attention_head_dim=8, down_block_types=('DownBlock2D', ) * 3,
        up_block_types=('UpBlock2D', ) * 3))
run_study(study.parse_args(sys.argv[1:]), study.CLASS, study.CLASS.pictures)
"""


@pytest.mark.slow
def test_whole(name, tmp_path):
    WRITE[name](tmp_path / 'data')

    def run():
        code = WHOLE.replace('NAME', name).replace('CLASS', STUDIES[name])
        done = subprocess.run(
            [sys.executable, '-c', code, '--data', str(tmp_path / 'data'),
             '--out', str(tmp_path / 'out'), '--labels', '50', '--seeds', '1',
             '--threads', '1'],
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
        assert set(row) == {'labels_percent', 'arm', 'seeds', *metrics}
        assert np.isfinite([row[metric] for metric in metrics]).all()
    assert {row['metric'] for row in report['differences']} == metrics
    assert cv2.imread(str(tmp_path / 'out/pictures.png')).std() > 0
    # nothing is left to be done
    again, other = run()
    assert again == jobs and other == report
