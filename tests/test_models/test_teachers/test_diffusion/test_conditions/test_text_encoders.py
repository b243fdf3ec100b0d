"""Prompts, as the real pipelines encode them; they want transformers."""
import gc
import importlib.util

import pytest
import torch
from safetensors import safe_open

from tests.test_models.test_teachers.test_diffusion.test_conditions.encoders import (  # noqa: E501
    Recorder,
    clip_encoder,
    clip_tokenizer,
    vae,
)

transformers = pytest.importorskip('transformers')
NO_PARTS = dict(safety_checker=None, feature_extractor=None)
IMAGES = torch.rand(2, 3, 16, 24) * 255
T = torch.tensor([10, 600])


def sd(tmp_path):
    from diffusers import (
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=12, attention_head_dim=4,
        down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
        up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'))
    return StableDiffusionPipeline(
        vae(), clip_encoder(12), clip_tokenizer(tmp_path / 'words'), unet,
        DDIMScheduler(beta_schedule='scaled_linear'), **NO_PARTS,
        requires_safety_checker=False)


def sdxl(tmp_path):
    from diffusers import (
        DDIMScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, cross_attention_dim=20, attention_head_dim=(2, 4),
        addition_embed_type='text_time', addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=4 * 6 + 10,
        down_block_types=('DownBlock2D', 'CrossAttnDownBlock2D'),
        up_block_types=('CrossAttnUpBlock2D', 'UpBlock2D'))
    return StableDiffusionXLPipeline(
        vae(), clip_encoder(8), clip_encoder(
            12, transformers.CLIPTextModelWithProjection, projection_dim=10),
        clip_tokenizer(tmp_path / 'words'),
        clip_tokenizer(tmp_path / 'words_2'), unet,
        DDIMScheduler(beta_schedule='scaled_linear'))


@pytest.fixture
def teacher(build, tmp_path):

    def make(**cfg):
        module = build(dict(
            type='repfusion_mm.DiffusionTeacher', image_size=(16, 24),
            pretrained=str(tmp_path / 'pipeline'),
            condition_dir=str(tmp_path / 'prompts'), **cfg))
        module.init_weights()
        return module

    return make


def flat(kwargs):
    """Arguments that say something, by name, nested ones too."""
    found = {}
    for name, value in kwargs.items():
        if isinstance(value, dict):
            found.update(flat(value))
        elif value is not None:
            found[name] = value
    return found


@pytest.mark.parametrize('make', [sd, sdxl])
@pytest.mark.parametrize('prompt', ['', 'a photo of a cat', 'word ' * 99])
def test_as_the_pipeline_calls_it(make, prompt, tmp_path, teacher):
    pipeline = make(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / 'pipeline')
    recorder = Recorder(pipeline.unet)
    pipeline(prompt, num_inference_steps=2, guidance_scale=0., height=16,
             width=24, num_images_per_prompt=2, output_type='latent')
    (_, t), kwargs = recorder.call
    ours = teacher(condition=dict(prompt=prompt))
    inputs = ours.encode(IMAGES)
    assert inputs.shape == (2, 4, 8, 12)
    _, (told, ), named = ours.call(inputs, t.expand(2))
    assert torch.equal(told, t.expand(2))
    wanted, named = flat(kwargs), flat(named)
    assert set(named) == set(wanted)
    for name, value in wanted.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(named[name], value)
        else:
            assert named[name] == value
    # and of the whole: features are the pipeline's
    tap = 'up_blocks.1.resnets.0'
    features = {}
    pipeline.unet.get_submodule(tap).register_forward_hook(
        lambda module, args, output: features.update(ours=output))
    latents = pipeline.vae.encode(IMAGES / 127.5 - 1).latent_dist.mean * \
        pipeline.vae.config.scaling_factor
    with torch.no_grad():
        pipeline.unet(latents, T, **kwargs)
    found = teacher(condition=dict(prompt=prompt), taps=[tap])(IMAGES, T)
    torch.testing.assert_close(found[tap], features['ours'])


def test_sdxl_without_a_prompt(tmp_path, teacher):
    """The pipeline's own way without one, which is zeros."""
    pipeline = sdxl(tmp_path)
    pipeline.save_pretrained(tmp_path / 'pipeline')
    wanted = pipeline.encode_prompt('a cat', do_classifier_free_guidance=True)
    ours = teacher()
    _, _, named = ours.call(ours.encode(IMAGES), T)
    torch.testing.assert_close(named['encoder_hidden_states'],
                               wanted[1].expand(2, -1, -1))
    torch.testing.assert_close(named['added_cond_kwargs']['text_embeds'],
                               wanted[3].expand(2, -1))


@pytest.fixture
def pipeline(tmp_path):
    pipeline = sd(tmp_path)
    pipeline.save_pretrained(tmp_path / 'pipeline')
    return pipeline


def content(path):
    """Of a file, bit for bit; safetensors writes metadata in any order."""
    with safe_open(path, 'np') as file:
        return file.metadata(), {
            name: (file.get_tensor(name).dtype, file.get_tensor(name).shape,
                   file.get_tensor(name).tobytes()) for name in file.keys()}


def test_encoded_once(pipeline, tmp_path, teacher, monkeypatch):
    from repfusion_mm.models.teachers.diffusion.conditions import (
        text_encoders,
    )
    cfg = dict(condition=dict(class_names={3: 'cat', 7: 'dog'}))
    first = teacher(**cfg)
    labels = torch.tensor([7, -1])
    wanted = first(IMAGES, T, labels)['up_blocks.1']
    files = sorted((tmp_path / 'prompts').iterdir())
    assert len(files) == 3  # two names, and no prompt

    def absent():
        raise ImportError('not there')

    with monkeypatch.context() as patch:
        patch.setattr(text_encoders, '_transformers', absent)
        again = teacher(**cfg)
        assert torch.equal(again(IMAGES, T, labels)['up_blocks.1'], wanted)
        with pytest.raises(ImportError, match='not there'):
            teacher(condition=dict(prompt='another'))
    # each is told its own
    for label, prompt in ((3, 'a photo of a cat'), (7, 'a photo of a dog')):
        alone = teacher(condition=dict(prompt=prompt))(IMAGES, T)
        named = first(IMAGES, T, torch.full((2, ), label))
        assert torch.equal(alone['up_blocks.1'], named['up_blocks.1'])
    # a damaged file is encoded again
    good = content(files[0])
    files[0].write_bytes(files[0].read_bytes()[:-4] + b'\0\1\2\3')
    assert content(files[0]) != good
    assert torch.equal(teacher(**cfg)(IMAGES, T, labels)['up_blocks.1'],
                       wanted)
    assert content(files[0]) == good


def test_other_encoders_encode_again(pipeline, tmp_path, teacher):
    teacher(condition=dict(prompt='cat'))
    count = len(list((tmp_path / 'prompts').iterdir()))
    with torch.no_grad():
        pipeline.text_encoder.get_input_embeddings().weight.add_(1)
    pipeline.save_pretrained(tmp_path / 'pipeline')
    teacher(condition=dict(prompt='cat'))
    assert len(list((tmp_path / 'prompts').iterdir())) == count + 1


def test_text_encoders_are_not_held(pipeline, teacher):
    del pipeline.text_encoder
    gc.collect()
    before = len([one for one in gc.get_objects()
                  if isinstance(one, transformers.PreTrainedModel)])
    module = teacher(condition=dict(prompt='cat'))
    gc.collect()
    after = len([one for one in gc.get_objects()
                 if isinstance(one, transformers.PreTrainedModel)])
    assert after <= before and not module.state_dict()


def test_tool(pipeline, tmp_path, root, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        'tool', root / 'tools/model_converters/encode_conditions.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    config = tmp_path / 'config.py'
    config.write_text(f'''
model = dict(type='repfusion_mm.RepFusion', teacher=dict(
    type='repfusion_mm.DiffusionTeacher', image_size=(16, 24),
    pretrained={str(tmp_path / 'pipeline')!r},
    condition_dir={str(tmp_path / 'prompts')!r},
    condition=dict(class_names=['cat', 'dog'])))''')
    tool.main([str(config)])
    assert len(list((tmp_path / 'prompts').iterdir())) == 3
    config.write_text('model = dict(type=\'repfusion_mm.DPM\')')
    with pytest.raises(SystemExit, match='no DiffusionTeacher'):
        tool.main([str(config)])
