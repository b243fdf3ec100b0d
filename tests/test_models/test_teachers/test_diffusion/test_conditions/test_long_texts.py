"""T5's and Gemma's texts, against the real pipelines; they want transformers.
"""
import string

import diffusers
import pytest
import torch

from tests.test_models.test_teachers.test_diffusion.test_conditions.encoders import (  # noqa: E501
    Recorder,
    clip_encoder,
    clip_tokenizer,
    vae,
)

transformers = pytest.importorskip('transformers')
IMAGES = torch.rand(2, 3, 64, 64) * 255
T = torch.tensor([10, 600])
WIDTH = 10


def tokenizer(before='', behind='</s>'):
    """A fast one, of single letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    words = ['<pad>', '</s>', '<unk>', '<bos>', '▁',
             *string.printable.strip()]
    fast = Tokenizer(models.Unigram([(word, -float(place)) for place, word
                                     in enumerate(words)], unk_id=2))
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.post_processor = processors.TemplateProcessing(
        f'{before} $A {behind}'.strip(),
        special_tokens=[(word, words.index(word))
                        for word in (before, behind) if word])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token='<pad>', eos_token='</s>',
        unk_token='<unk>', bos_token='<bos>')


def t5():
    torch.manual_seed(6)
    return transformers.T5EncoderModel(transformers.T5Config(
        vocab_size=110, d_model=WIDTH, d_kv=4, d_ff=16, num_layers=2,
        num_heads=2)).eval()


def gemma():
    torch.manual_seed(6)
    return transformers.Gemma2Model(transformers.Gemma2Config(
        vocab_size=110, hidden_size=WIDTH, intermediate_size=16,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=4)).eval()


def flow():
    return diffusers.FlowMatchEulerDiscreteScheduler()


def sd3(folder):
    with_projection = transformers.CLIPTextModelWithProjection
    return diffusers.StableDiffusion3Pipeline(
        diffusers.SD3Transformer2DModel(
            sample_size=32, in_channels=4, num_layers=1, attention_head_dim=6,
            num_attention_heads=2, joint_attention_dim=WIDTH,
            caption_projection_dim=12, pooled_projection_dim=9,
            out_channels=4, pos_embed_max_size=24),
        flow(), vae(),
        clip_encoder(4, with_projection, projection_dim=4),
        clip_tokenizer(folder / 'words'),
        clip_encoder(6, with_projection, projection_dim=5),
        clip_tokenizer(folder / 'words_2'), t5(), tokenizer())


def flux(folder, **config):
    return diffusers.FluxPipeline(
        flow(), vae(), clip_encoder(6), clip_tokenizer(folder / 'words'),
        t5(), tokenizer(), diffusers.FluxTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1,
            attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=WIDTH, pooled_projection_dim=6,
            axes_dims_rope=(2, 2, 4), **config))


def flux_dev(folder):
    return flux(folder, guidance_embeds=True)


def pixart(folder, kind='PixArtAlphaPipeline'):
    return getattr(diffusers, kind)(
        tokenizer(), t5(), vae(), diffusers.PixArtTransformer2DModel(
            num_attention_heads=2, attention_head_dim=6, num_layers=1,
            cross_attention_dim=12, sample_size=64, caption_channels=WIDTH),
        diffusers.DPMSolverMultistepScheduler(beta_start=0.0001,
                                              beta_end=0.02))


def pixart_sigma(folder):
    return pixart(folder, 'PixArtSigmaPipeline')


def sana(folder):
    if not hasattr(diffusers, 'SanaPipeline'):
        pytest.skip('this diffusers has no Sana')
    return diffusers.SanaPipeline(
        tokenizer('<bos>', ''), gemma(), diffusers.AutoencoderDC(
            latent_channels=6, attention_head_dim=4,
            encoder_block_types=('ResBlock', ) * 2,
            decoder_block_types=('ResBlock', ) * 2,
            encoder_block_out_channels=(12, 12),
            decoder_block_out_channels=(12, 12),
            encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), ()),
            decoder_qkv_multiscales=((), ())),
        diffusers.SanaTransformer2DModel(
            in_channels=6, out_channels=6, num_attention_heads=2,
            attention_head_dim=6, num_layers=1, num_cross_attention_heads=2,
            cross_attention_head_dim=6, cross_attention_dim=12,
            caption_channels=WIDTH, sample_size=8),
        diffusers.DPMSolverMultistepScheduler(
            prediction_type='flow_prediction', use_flow_sigmas=True,
            flow_shift=3.))


# the pipelines take 512 tokens where schnell was trained with 256
OPTIONS = dict(flux=dict(max_sequence_length=256))


@pytest.mark.parametrize('make', [sd3, flux, flux_dev, pixart, pixart_sigma,
                                  sana])
@pytest.mark.parametrize('prompt', ['', 'A photo of a cat', 'word ' * 130])
def test_as_the_pipeline_calls_it(make, prompt, tmp_path, build):
    pipeline = make(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / 'pipeline')
    recorder = Recorder(pipeline.transformer)
    options = dict(dict(guidance_scale=1.),
                   **OPTIONS.get(make.__name__, {}))
    if make is flux_dev:
        options['guidance_scale'] = 3.5
    if make in (pixart, pixart_sigma, sana):
        options.update(use_resolution_binning=False, clean_caption=False)
    if make is sana and not prompt:  # nothing stands without instruction
        options['complex_human_instruction'] = None
    pipeline(prompt, num_inference_steps=2, height=64, width=64,
             num_images_per_prompt=2, output_type='latent', **options)
    ours = build(dict(
        type='repfusion_mm.DiffusionTeacher', image_size=64,
        taps=['transformer_blocks.0'],
        pretrained=str(tmp_path / 'pipeline'),
        condition=dict(prompt=prompt),
        condition_dir=str(tmp_path / 'prompts')))
    ours.init_weights()
    _, _, named = ours.call(ours.encode(IMAGES), T)
    _, kwargs = recorder.call
    told = [name for name, value in named.items()
            if isinstance(value, torch.Tensor) and name != 'timestep']
    assert {'encoder_hidden_states'} < set(told)
    for name in told:
        torch.testing.assert_close(
            named[name].float(), kwargs[name].float(), msg=name)
    others = {name for name, value in kwargs.items()
              if isinstance(value, torch.Tensor)}
    assert others <= {*told, 'hidden_states', 'timestep'}
