import json
from pathlib import Path

import pytest


@pytest.fixture
def module(monkeypatch, tmp_path):
    from benchmarks.studies import digits_study
    monkeypatch.chdir(digits_study.ROOT)
    monkeypatch.setattr(digits_study, 'RECORDS', tmp_path / 'kept.jsonl')
    return digits_study


@pytest.fixture
def tools(module, monkeypatch):
    """Train and test without either; what they are called with is kept."""
    called = []

    def train(argv):
        from mmengine.config import Config
        called.append(argv)
        folder = Path(argv[argv.index('--work-dir') + 1])
        cfg = Config.fromfile(argv[0])
        cfg.merge_from_dict(_options(argv))
        weights = folder / 'weights.pth'
        weights.touch()
        (folder / 'last_checkpoint').write_text(str(weights))
        if cfg.model.get('time_sampler', {}).get('look') is True:
            (folder / 'look.json').write_text(json.dumps(dict(
                chosen_t=225, score=[0.1])))
            (folder / 'time_steps.jsonl').write_text(json.dumps(dict(
                iter=50, mean_t=230., entropy_weight=0.,
                histogram=[0.05] * 20)) + '\n')

    def test(argv):
        """The better, the nearer t is to 200."""
        t = [int(part.split('_t')[1].split('_')[0]) for part in argv[-1].split(
            '/') if part.startswith('distill_fixed_t')]
        return {'accuracy/top1': 90. - abs(t[0] - 200) / 10 if t else 70.}

    def probe(argv):
        ts = _options(argv).get('timesteps', '[0,100,999]')[1:-1].split(',')
        return [dict(t=int(t), accuracy=100. - abs(int(t) - 300) / 10)
                for t in ts]

    monkeypatch.setattr(module, 'tool', lambda name: {
        'train': train, 'test': test, module.PROBE: probe}[name])
    return called


def _options(argv):
    return dict(one.split('=', 1) for one in
                argv[argv.index('--cfg-options') + 1:])


def make(module, out, *arguments, teacher=None):
    from benchmarks.studies.digits import parse_args
    return module.Study(parse_args(['--out', str(out), *arguments]),
                        teacher or module.CONFIGS / 'dpm_digits')


def test_records_serve_another_machine(module, tools, tmp_path):
    """In another folder, and the stage 1 that they need is not run either."""
    first = make(module, tmp_path / 'one')
    scores = [first.finetune(arm, '2', 100) for arm in (
        'scratch', 'fixed_t100', 'reinforced')]
    assert len(tools) == 5
    (tmp_path / 'one' / 'records.jsonl').rename(module.RECORDS)
    assert str(tmp_path) not in module.RECORDS.read_text()
    second = make(module, tmp_path / 'two')
    assert scores == [second.finetune(arm, '2', 100) for arm in (
        'scratch', 'fixed_t100', 'reinforced')]
    assert len(tools) == 5
    second.finetune('reinforced', '2', 101)
    second.finetune('reinforced', '5', 100)
    second.finetune('reinforced', '2', 100, 'val')
    # the split is of stage 2 alone
    assert len(tools) == 5 + 6
    second.finetune('reinforced', '2', 100, 'val')
    assert len(tools) == 5 + 6


def test_where_the_teacher_lies_does_not_matter(module, tools, tmp_path):
    import shutil
    make(module, tmp_path / 'one').finetune('uniform', '2', 100)
    (tmp_path / 'one' / 'records.jsonl').rename(module.RECORDS)
    moved = tmp_path / 'dpm'
    shutil.copytree(module.CONFIGS / 'dpm_digits', moved)
    make(module, tmp_path / 'two', teacher=moved).finetune(
        'uniform', '2', 100)
    assert len(tools) == 2
    with open(moved / 'unet' / 'diffusion_pytorch_model.safetensors',
              'ab') as file:
        file.write(b'0')  # another teacher
    make(module, tmp_path / 'two', teacher=moved).finetune(
        'uniform', '2', 100)
    assert len(tools) == 4


def test_arms(module, tools, tmp_path):
    study = make(module, tmp_path)
    for arm in ('scratch', 'scratch_long', 'constant', 'reinforced',
                'bank_t75', 'blind'):
        study.finetune(arm, '5', 3)
    stages = [Path(argv[0]).stem for argv in tools]
    assert stages == [
        'resnet18_scratch_digits', 'resnet18_scratch_digits',
        'repfusion_resnet18_reinforced_digits', 'resnet18_repfusion_digits',
        'repfusion_resnet18_reinforced_digits', 'resnet18_repfusion_digits',
        'repfusion_resnet18_bank_digits', 'resnet18_repfusion_digits',
        'repfusion_resnet18_reinforced_digits', 'resnet18_repfusion_digits']
    given = [_options(argv) for argv in tools]
    from mmengine.config import Config
    both = sum(Config.fromfile(argv[0]).train_cfg.max_iters
               for argv in tools[2:4])
    assert 'train_cfg.max_iters' not in given[0]
    assert given[1]['train_cfg.max_iters'] == str(both)
    assert set(given[2].items()) - set(given[4].items()) == {
        ('model.time_sampler.policy.type', 'repfusion_mm.ConstantPolicy')}
    assert set(given[8].items()) - set(given[4].items()) == {
        ('model.time_sampler.look', 'False'),
        ('model.time_sampler.entropy_weight', '0.3')}
    for one in given[2], given[4], given[6], given[8]:
        dataset = 'train_dataloader.dataset.datasets.1'
        assert one[f'{dataset}.dataset.labels_per_class'] == '5'
        assert one[f'{dataset}.times'] == '7'
    assert given[6]['model.teacher.timesteps'] == '[75]'
    assert 'distill_constant' in \
        given[3]['model.backbone.init_cfg.checkpoint']


def test_joint_arms(module, tools, tmp_path):
    study = make(module, tmp_path)
    for arm in ('joint', 'joint_balanced', 'joint_strong'):
        study.finetune(arm, '5', 3)
    assert {Path(argv[0]).stem for argv in tools} == {
        'joint-repfusion_resnet18_digits'}
    joint, balanced, strong = map(_options, tools)
    assert set(balanced.items()) - set(joint.items()) == {
        ('model.balance', 'True')}
    assert set(strong.items()) - set(joint.items()) == {
        ('model.distill_weight', '5.0')}
    parts = 'train_dataloader.dataset.datasets'
    assert joint[f'{parts}.0.seed'] == joint[f'{parts}.1.dataset.seed'] == '3'
    assert joint[f'{parts}.1.times'] == '21'  # 50 x 21 beside the rest
    assert 'model.backbone.init_cfg.checkpoint' not in joint


def test_what_the_policy_did_is_kept(module, tools, tmp_path):
    study = make(module, tmp_path)
    score = study.finetune('reinforced', '2', 100)
    assert score == dict(accuracy=70., looked=225, drawn=[dict(
        iter=50, mean_t=230., histogram=[0.05] * 20)])
    assert study.finetune('uniform', '2', 100) == dict(accuracy=70.)


def test_the_best_fixed_t(module, tools, tmp_path):
    """Probed at all candidates, the three best ones trained, on validation."""
    study = make(module, tmp_path)
    found = study.best_fixed('2')
    # the probe likes 300, training 200
    assert list(found['probed']) == list(range(25, 1000, 50))
    assert found['t'] == 225
    assert set(found['trained']) == {275, 325, 225}
    given = [_options(argv) for argv in tools]
    assert {one['randomness.seed'] for one in given} == {'0'}
    assert {one['test_dataloader.dataset.split'] for one in given[1::2]} == \
        {'val'}


def test_jobs(module):
    from benchmarks.studies.digits import make_jobs, parse_args
    args = ['--labels', '5', '1', '--seeds', '6', '--first-seed', '100',
            '--arms', 'uniform', 'constant', 'blind']
    jobs = make_jobs(parse_args(args))
    assert jobs[:4] == [('5', 100, 'uniform'), ('5', 100, 'constant'),
                        ('5', 100, 'blind'), ('5', 101, 'uniform')]
    assert [seed for labels, seed, arm in jobs if arm == 'constant'
            and labels == '5'] == [100, 101, 102, 103]
    assert len(jobs) == 2 * 6 + 2 * 4
    # all do all in the end, but each begins elsewhere
    other = make_jobs(parse_args([*args, '--part', '1/2']))
    assert set(other) == set(jobs)
    assert [seed for labels, seed, _ in other if labels == '1'] == [
        101, 103, 105, 100, 102, 104]


@pytest.mark.parametrize('part', ['2/2', '-1/2', '1', 'a/b'])
def test_wrong_part(part, module, capsys):
    from benchmarks.studies.digits import parse_args
    with pytest.raises(SystemExit):
        parse_args([f'--part={part}'])
    assert '--part' in capsys.readouterr().err


def test_results_are_in_the_order_of_the_seeds(module):
    from benchmarks.studies.digits import make_results
    scores = {('2', 'reinforced', 101): dict(
                  accuracy=80., looked=225, drawn='b'),
              ('2', 'reinforced', 100): dict(
                  accuracy=70., looked=325, drawn='a'),
              ('2', 'scratch', 100): dict(accuracy=60.)}
    assert make_results(scores) == [
        dict(init='reinforced', labels_per_class=2, seeds=[100, 101],
             accuracy=[70., 80.], looked=[325, 225], drawn=['a', 'b']),
        dict(init='scratch', labels_per_class=2, seeds=[100],
             accuracy=[60.])]
