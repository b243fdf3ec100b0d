"""A planted file, named wherever weights are named, runs nothing."""
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from repfusion_mm.safe_loading import RefusedFileError

SCRATCH = 'configs/demo/resnet18_scratch_digits.py'
UNIFORM = 'configs/demo/repfusion_resnet18_uniform_digits.py'
BANK = 'configs/demo/repfusion_resnet18_bank_digits.py'
GUIDED = dict(type='repfusion_mm.GuidedDiffusionTeacher', image_size=16,
              num_channels=32, num_res_blocks=1, channel_mult=(1, 2),
              attention_resolutions=(8, ), num_head_channels=16)


@pytest.fixture
def train(tool, root, monkeypatch, tmp_path, pipeline_folder):
    """Runs tools/train.py."""
    monkeypatch.chdir(root)
    monkeypatch.setenv('LOCAL_RANK', '0')

    def run(config, *arguments, **options):
        more = {'model.teacher.pretrained': pipeline_folder} \
            if 'repfusion' in config and not any(
                key.startswith('model.teacher') for key in options) else {}
        tool('train').main([
            config, '--work-dir', str(tmp_path / 'work'), '--no-validate',
            *arguments, '--cfg-options', 'train_cfg.max_iters=1',
            'param_scheduler=None', 'train_dataloader.batch_size=8',
            *(f'{key}={value}' for key, value in {**more, **options}.items()
              )])

    return run


@pytest.fixture
def refused(marker):
    """It ends in an error that says why, and nothing ran."""

    def check(error, path, run, *arguments, **options):
        with pytest.raises(error) as raised:
            run(*arguments, **options)
        assert not marker.exists()
        said = str(raised.value)
        assert path in said and 'call posix.mkdir' in said, said
        assert 'to_safetensors.py' in said

    return check


def test_init_cfg(train, plant, refused):
    """Of a model of mmpretrain's, in stage 2, without any hook of ours."""
    path = plant()
    refused(RefusedFileError, path, train, SCRATCH, **{
        'model.backbone.init_cfg.type': 'Pretrained',
        'model.backbone.init_cfg.checkpoint': path})


def test_init_cfg_of_the_student(train, plant, refused):
    path = plant()
    refused(RefusedFileError, path, train, UNIFORM, **{
        'model.backbone.init_cfg.type': 'Pretrained',
        'model.backbone.init_cfg.checkpoint': path,
        'model.backbone.init_cfg.prefix': 'backbone.'})


def test_init_cfg_of_a_task(plant, refused, load_config, pipeline_folder):
    """Inside JointRepFusion, by the stock Runner and no tool of ours."""
    from mmengine.runner import Runner
    path = plant()
    cfg = load_config(SCRATCH, 1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    task = cfg.model
    task.backbone.init_cfg = dict(type='Pretrained', checkpoint=path)
    cfg.model = dict(
        type='repfusion_mm.JointRepFusion', task=task,
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.FixedTime'),
        connections=[dict(student_tap='backbone.layer4',
                          teacher_tap='mid_block.resnets.1')])
    refused(RefusedFileError, path, Runner.from_cfg(cfg).train)


@pytest.mark.parametrize('hooks', ['[]', None])
def test_load_from(train, plant, refused, hooks):
    """With PretrainedCheckHook and without it."""
    path = plant()
    options = {} if hooks is None else dict(custom_hooks=hooks)
    refused(RefusedFileError, path, train, SCRATCH, load_from=path, **options)


@pytest.mark.parametrize('named', [True, False])
def test_resume(train, plant, refused, tmp_path, named):
    path = plant()
    if named:
        refused(RefusedFileError, path, train, SCRATCH, '--resume', path)
    else:
        (tmp_path / 'work').mkdir()
        (tmp_path / 'work/last_checkpoint').write_text(path)
        refused(RefusedFileError, path, train, SCRATCH, '--resume')


def test_tested(tool, root, monkeypatch, plant, refused):
    monkeypatch.chdir(root)
    path = plant()
    refused(RefusedFileError, path, tool('test').main, [SCRATCH, path])


@pytest.mark.slow
@pytest.mark.parametrize('script', ['train', 'test'])
def test_in_a_process_of_its_own(root, plant, marker, tmp_path, script):
    """As a user would start it."""
    path = plant()
    arguments = [path, '--work-dir', str(tmp_path / 'work')] \
        if script == 'test' else [
            '--work-dir', str(tmp_path / 'work'), '--cfg-options',
            'model.backbone.init_cfg.type=Pretrained',
            f'model.backbone.init_cfg.checkpoint={path}']
    done = subprocess.run(
        [sys.executable, f'tools/{script}.py', SCRATCH, *arguments],
        cwd=root, text=True, capture_output=True, timeout=600,
        env={**os.environ, 'PYTHONPATH': str(root)})
    assert done.returncode == 1
    assert 'RefusedFileError' in done.stderr and path in done.stderr
    assert 'call posix.mkdir' in done.stderr
    assert not marker.exists()


@pytest.mark.parametrize('new', [True, False])
def test_guided_diffusion(build, plant, refused, new):
    path = plant('planted.pt', {'time_embed.0.weight': torch.ones(1)}, new)
    teacher = build(dict(GUIDED, checkpoint=path))
    refused(OSError, path, teacher.init_weights)


def test_guided_diffusion_converted(tool, plant, marker, tmp_path):
    path = plant('planted.pt')
    with pytest.raises((OSError, SystemExit), match='call posix.mkdir'):
        tool('model_converters/guided_diffusion_to_diffusers').main(
            [path, str(tmp_path / 'out'), '--preset', '64x64'])
    assert not marker.exists()


def test_bank(tool, root, monkeypatch, plant, refused):
    monkeypatch.chdir(root)
    path = plant('planted.pt')
    guided = {f'model.teacher.teacher.{key}': value
              for key, value in dict(GUIDED, checkpoint=path).items()}
    refused(OSError, path, tool('analysis_tools/fill_bank').main,
            [BANK, '--cfg-options', 'model.teacher.teacher._delete_=True',
             *(f'{key}={value}' for key, value in guided.items())])


def test_classifier_teacher(build, plant, refused):
    path = plant()
    teacher = build(dict(
        type='repfusion_mm.ClassifierTeacher', checkpoint=path, image_size=32,
        model=dict(type='ImageClassifier', backbone=dict(
            type='ResNet_CIFAR', depth=18))))
    refused(OSError, path, teacher.init_weights)


def test_published(tool, plant, marker, tmp_path):
    """What is read inertly is not refused, and runs nothing either."""
    path = plant(state={'backbone.w': torch.ones(2)})
    out = tmp_path / 'out.safetensors'
    tool('model_converters/publish_student').main([path, str(out)])
    assert out.is_file() and not marker.exists()


@pytest.fixture
def folder(pipeline_folder, tmp_path):
    """A diffusers pipeline of a stranger's."""
    return shutil.copytree(pipeline_folder, tmp_path / 'folder')


def teach(build, folder):
    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         pretrained=str(folder), taps=['mid_block']))
    teacher.init_weights()
    return teacher


def test_weights_of_a_diffusers_folder(build, folder, plant, marker):
    (folder / 'unet/diffusion_pytorch_model.safetensors').unlink()
    os.rename(plant(), folder / 'unet/diffusion_pytorch_model.bin')
    with pytest.raises(OSError, match='model.bin.*call posix.mkdir'):
        teach(build, folder)
    assert not marker.exists()


def test_safetensors_come_first(build, folder, plant, marker):
    """Where both are there, the pickle is not opened."""
    os.rename(plant(), folder / 'unet/diffusion_pytorch_model.bin')
    teach(build, folder)
    assert not marker.exists()


def change(path, **values):
    config = json.loads(path.read_text())
    config.update(values)
    path.write_text(json.dumps(config))


def program(folder, marker):
    """What a folder would have run, in every place where it may lie."""
    code = f'import os\nos.mkdir({str(marker)!r})\n' \
        'class Evil: pass\n'
    for name in ('evil.py', 'pipeline.py', 'unet/evil.py',
                 'scheduler/evil.py'):
        (folder / name).write_text(code)


@pytest.mark.parametrize('file, values, message', [
    ('unet/config.json', dict(_class_name=['evil', 'Evil']),
     r"a \['evil', 'Evil'\]; UNetTeacher takes a UNet2DModel"),
    ('unet/config.json', dict(_class_name='evil.Evil'),
     'a evil.Evil; UNetTeacher takes'),
    ('scheduler/scheduler_config.json', dict(_class_name='evil.Evil'),
     'has a evil.Evil'),
])
def test_classes_of_a_diffusers_folder(build, folder, marker, file, values,
                                       message):
    program(folder, marker)
    change(folder / file, **values)
    with pytest.raises(ValueError, match=message):
        teach(build, folder)
    assert not marker.exists()


@pytest.mark.parametrize('file, values', [
    ('model_index.json', dict(_class_name=['pipeline', 'Evil'])),
    ('model_index.json', dict(unet=['evil', 'Evil'])),
    ('model_index.json', dict(custom_pipeline='pipeline.py')),
    ('unet/config.json', dict(auto_map={'AutoModel': 'evil.Evil'})),
    ('scheduler/scheduler_config.json', dict(
        auto_map={'AutoModel': 'evil.Evil'})),
])
def test_requests_for_remote_code(build, folder, marker, images, file,
                                  values):
    """What a folder asks to be run is not looked at, or is refused."""
    program(folder, marker)
    change(folder / file, **values)
    try:
        teach(build, folder)
    except (OSError, ValueError):
        pass
    assert not marker.exists()
    assert not any('evil' in name for name in sys.modules)


def test_shards_elsewhere(build, folder):
    """The index of the weights names a file outside of the folder."""
    weights = folder / 'unet/diffusion_pytorch_model.safetensors'
    shutil.move(weights, folder / 'elsewhere.safetensors')
    weights.with_suffix('.safetensors.index.json').write_text(json.dumps(
        dict(weight_map={'a': '../elsewhere.safetensors'})))
    with pytest.raises(OSError, match='no ../elsewhere.safetensors'):
        teach(build, folder)
