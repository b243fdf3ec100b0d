"""Small parts of pipelines with a text; they want transformers."""
import json

import torch


def clip_tokenizer(folder):
    """CLIP's, of single letters."""
    import transformers
    letters = 'abcdefghijklmnopqrstuvwxyz'
    words = ['<|startoftext|>', '<|endoftext|>', *letters,
             *(f'{letter}</w>' for letter in letters)]
    folder.mkdir()
    (folder / 'vocab.json').write_text(json.dumps(
        {word: index for index, word in enumerate(words)}))
    (folder / 'merges.txt').write_text('#version: 0.2\n')
    return transformers.CLIPTokenizer(
        str(folder / 'vocab.json'), str(folder / 'merges.txt'),
        model_max_length=77)


def clip_encoder(width, cls=None, **config):
    import transformers
    torch.manual_seed(width)
    return (cls or transformers.CLIPTextModel)(transformers.CLIPTextConfig(
        vocab_size=54, hidden_size=width, intermediate_size=16,
        num_hidden_layers=3, num_attention_heads=2, bos_token_id=0,
        eos_token_id=1, pad_token_id=1, **config)).eval()


def vae():
    from diffusers import AutoencoderKL
    return AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
        down_block_types=('DownEncoderBlock2D', ) * 2,
        up_block_types=('UpDecoderBlock2D', ) * 2)


class Recorder:
    """What a pipeline calls its denoiser with, in its first step."""

    def __init__(self, denoiser):
        self.call = None
        denoiser.register_forward_pre_hook(self.keep, with_kwargs=True)

    def keep(self, module, args, kwargs):
        if self.call is None:
            self.call = args, kwargs
