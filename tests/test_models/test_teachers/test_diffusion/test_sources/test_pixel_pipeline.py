import json
import shutil

import pytest


@pytest.fixture
def pipeline(pipeline_folder, tmp_path):
    """A pipeline with more parts; None is one that is left empty."""

    def write(index=True, **parts):
        folder = tmp_path / 'pipeline'
        shutil.copytree(pipeline_folder, folder)
        path = folder / 'model_index.json'
        config = json.loads(path.read_text())
        config['requires_nothing'] = False  # not every entry is a part
        for name, cls in parts.items():
            config[name] = [cls and 'diffusers', cls]
            if cls:
                (folder / name).mkdir()
                (folder / name / 'config.json').write_text(
                    json.dumps(dict(_class_name=cls)))
        path.write_text(json.dumps(config))
        if not index:
            path.unlink()
        return folder

    return write


@pytest.fixture
def teacher(build):
    return lambda folder, **cfg: build(dict(
        type='repfusion_mm.UNetTeacher', pretrained=str(folder), **cfg))


def test_latent_diffusion(unet, teacher, tmp_path):
    """As CompVis/ldm-celebahq-256: latents of three channels."""
    from diffusers import DDIMScheduler, LDMPipeline, VQModel
    autoencoder = VQModel(block_out_channels=(8, ), num_vq_embeddings=4,
                          norm_num_groups=4)
    LDMPipeline(vqvae=autoencoder, unet=unet,
                scheduler=DDIMScheduler()).save_pretrained(tmp_path)
    for where in (tmp_path, tmp_path / 'unet'):
        with pytest.raises(ValueError, match='`teacher.pretrained`.*'
                           'LDMPipeline.*latents.*`vqvae` .VQModel.*pixels'):
            teacher(where)


@pytest.mark.parametrize('index', [True, False])
@pytest.mark.parametrize('name, cls', [
    ('vae', 'AutoencoderKL'), ('vqvae', 'VQModel'), ('movq', 'VQModel'),
    ('vae', 'AutoencoderTiny')])
def test_autoencoders(pipeline, teacher, tiny, name, cls, index):
    folder = pipeline(index, **{name: cls})
    for where in (folder, folder / 'unet'):
        with pytest.raises(ValueError, match=f'latents that `{name}`'):
            teacher(where)
    module = teacher(folder, config=tiny)
    with pytest.raises(ValueError, match=f'latents that `{name}`'):
        module.init_weights()


def test_an_autoencoder_by_its_class(pipeline, teacher):
    with pytest.raises(ValueError, match='latents that `first` .Autoencoder'):
        teacher(pipeline(first='AutoencoderKL'))


def test_other_parts(pipeline, teacher):
    """Spectrograms of sound, for example."""
    with pytest.raises(ValueError, match="parts {'mel': 'Mel'}"):
        teacher(pipeline(mel='Mel'))


def test_parts_that_do_nothing(pipeline, teacher):
    assert teacher(pipeline(vqvae=None, unet_ema='UNet2DModel',
                            feature_extractor='CLIPImageProcessor'))


def test_no_denoiser(pipeline, teacher):
    folder = pipeline(transformer='DiTTransformer2DModel')
    shutil.rmtree(folder / 'unet')
    with pytest.raises(FileNotFoundError, match='a .unet., but .unet/config'
                       '.json. is not there: it was not fetched'):
        teacher(folder)
    index = json.loads((folder / 'model_index.json').read_text())
    del index['unet']
    (folder / 'model_index.json').write_text(json.dumps(index))
    with pytest.raises(ValueError, match='a DDPMPipeline of .*transformer'):
        teacher(folder)


@pytest.mark.parametrize('channels, what', [
    (4, 'latent'), (6, 'super-resolution'), (5, '5$')])
def test_other_channels(teacher, tiny, channels, what):
    with pytest.raises(ValueError, match=f'1 or 3 channels.*{what}'):
        teacher('nowhere', config=dict(tiny, in_channels=channels))


def test_neighbours_are_not_asked(bare_folder, teacher, tmp_path):
    """A model that lies among others is not a part of them."""
    shutil.copytree(bare_folder, tmp_path / 'my_denoiser')
    (tmp_path / 'vae').mkdir()
    (tmp_path / 'vae' / 'config.json').write_text('{}')
    assert teacher(tmp_path / 'my_denoiser')
