import importlib.util
import os

import pytest
import torch

FLAGS = dict(image_size=16, num_channels=32, num_res_blocks=1,
             channel_mult=(1, 2), attention_resolutions=(8, ),
             num_head_channels=16, resblock_updown=True, learn_sigma=True)
TAPS = ['conv_in', 'mid_block', 'conv_out']


@pytest.fixture
def convert(tool):
    return tool('model_converters/guided_diffusion_to_diffusers').main


@pytest.fixture
def checkpoint(root, tmp_path):
    """Writes a checkpoint; its path."""
    spec = importlib.util.spec_from_file_location(
        'guided_unet', root / 'tests/test_models/test_teachers/guided_unet.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def write(**flags):
        path = str(tmp_path / 'network.pt')
        torch.save(module.GuidedUNet(**flags).randomise().state_dict(), path)
        return path

    return write


def options(flags):
    """On the command line as in guided-diffusion's README."""
    return [word for name, value in flags.items() for word in (
        f'--{name}', ','.join(map(str, value)) if isinstance(value, tuple)
        else str(value))]


def features(build, images, timesteps, **cfg):
    teacher = build(dict(cfg, taps=TAPS))
    teacher.init_weights()
    return teacher, teacher(images, timesteps)


@pytest.mark.parametrize('more', [
    dict(), dict(class_cond=True, use_new_attention_order=True,
                 noise_schedule='cosine'),
    dict(resblock_updown=False, use_scale_shift_norm=False,
         num_head_channels=-1, num_heads=2),
    dict(diffusion_steps=4000, dropout=0.1, use_fp16=True, use_kl=False,
         timestep_respacing='250', predict_xstart=True)])
def test_same_features(convert, checkpoint, build, images, timesteps,
                       tmp_path, more):
    flags = dict(FLAGS, **more)
    shapes = {name: value for name, value in flags.items() if name not in (
        'diffusion_steps', 'dropout', 'use_fp16', 'use_kl',
        'timestep_respacing', 'predict_xstart')}
    path, folder = checkpoint(**shapes), str(tmp_path / 'folder')
    convert([path, folder, *options(flags)])
    condition = dict(class_condition=dict(fixed=3)) \
        if flags.get('class_cond') else {}
    ours, wanted = features(
        build, images, timesteps, type='repfusion_mm.GuidedDiffusionTeacher',
        checkpoint=path, **flags, **condition)
    read, got = features(build, images, timesteps,
                         type='repfusion_mm.UNetTeacher', pretrained=folder,
                         **condition)
    for tap in TAPS:
        torch.testing.assert_close(got[tap], wanted[tap])
    assert torch.equal(read.source.scheduler.betas,
                       ours.source.scheduler.betas)
    assert read.image_size == (16, 16)
    assert read.num_timesteps == flags.get('diffusion_steps', 1000)
    assert read.source.scheduler.config.prediction_type == (
        'sample' if 'predict_xstart' in flags else 'epsilon')


def test_half(convert, checkpoint, build, images, timesteps, tmp_path):
    path = checkpoint(**FLAGS)
    sizes, got = [], []
    for more in ([], ['--half']):
        folder = str(tmp_path / f'folder{len(more)}')
        convert([path, folder, *options(FLAGS), *more])
        sizes.append(os.path.getsize(
            f'{folder}/unet/diffusion_pytorch_model.safetensors'))
        got.append(features(build, images, timesteps, pretrained=folder,
                            type='repfusion_mm.UNetTeacher')[1]['mid_block'])
    assert 0.45 < sizes[1] / sizes[0] < 0.55
    assert 0 < (got[1] - got[0]).norm() / got[0].norm() < 0.01


def test_diffusers_samples(convert, checkpoint, tmp_path):
    from diffusers import DDPMPipeline
    folder = str(tmp_path / 'folder')
    convert([checkpoint(**FLAGS), folder, *options(FLAGS)])
    pipeline = DDPMPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(2, num_inference_steps=2, output_type='np').images
    assert images.shape == (2, 16, 16, 3)


@pytest.mark.parametrize('words, reason', [
    ('--preset 128x128', r'4 heads at every level.*\[128, 192, 256\]'),
    ('--preset 512x512', '`channel_mult` starts with 0.5.*256 channels.*128'),
    ('--preset 256x256 --rescale_timesteps True --diffusion_steps 4000',
     '`rescale_timesteps` has its 4000 time steps'),
    ('--num_heads_upsample 2 --attention_resolutions 8',
     r'4 heads at every level \(2 on the way up\).*\[128, 256\]')])
def test_refused(convert, tmp_path, words, reason):
    with pytest.raises(SystemExit, match=reason + '.*GuidedDiffusionTeacher'):
        convert(['no/such.pt', str(tmp_path / 'folder'), *words.split()])
    assert not (tmp_path / 'folder').exists()


def test_wrong_flags(convert, checkpoint, tmp_path):
    out = str(tmp_path / 'folder')
    with pytest.raises(ValueError, match='`num_heads` is .many.'):
        convert(['no/such.pt', out, '--num_heads', 'many'])
    with pytest.raises(FileNotFoundError, match='no/such.pt'):
        convert(['no/such.pt', out, '--preset', '64x64'])
    path = checkpoint(**FLAGS)
    with pytest.raises(ValueError, match='Look at `learn_sigma`'):
        convert([path, out, *options(dict(FLAGS, learn_sigma=False))])


def test_help(convert, capsys):
    with pytest.raises(SystemExit) as error:
        convert(['--help'])
    assert error.value.code == 0
    shown = capsys.readouterr().out
    assert '--preset' in shown and '--use_new_attention_order' in shown
