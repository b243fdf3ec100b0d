"""A text as T5 and Gemma take it."""
from typing import Any, Dict

from torch import Tensor


def encode_masked(tokenizer: Any, encoder: Any, prompt: str, length: int,
                  before: str = '') -> Dict[str, Tensor]:
    """A text by an encoder that is told which tokens are padding.

    Args:
        tokenizer (transformers.PreTrainedTokenizer): Of the text encoder.
        encoder (transformers.PreTrainedModel): The text encoder.
        prompt (str): The text; read in lower case, as in the training.
        length (int): Tokens, cut off or padded.
        before (str): What stands in front of it. Defaults to ``''``.

    Returns:
        dict[str, Tensor]: ``encoder_hidden_states`` (1, length, C) and
        ``encoder_attention_mask`` (1, length), 0 where there is padding.
    """
    tokens = tokenizer(before + prompt.lower().strip(), padding='max_length',
                       max_length=length, truncation=True,
                       add_special_tokens=True, return_tensors='pt')
    hidden = encoder(tokens.input_ids, attention_mask=tokens.attention_mask)
    return dict(encoder_hidden_states=hidden[0],
                encoder_attention_mask=tokens.attention_mask)


def encode_padded(tokenizer: Any, encoder: Any, prompt: str,
                  length: int) -> Tensor:
    """A text by an encoder that looks at padding like at other tokens.

    Args:
        tokenizer (transformers.PreTrainedTokenizer): Of the text encoder.
        encoder (transformers.PreTrainedModel): The text encoder.
        prompt (str): The text.
        length (int): Tokens, cut off or padded.

    Returns:
        Tensor: (1, length, C).
    """
    tokens = tokenizer(prompt, padding='max_length', max_length=length,
                       truncation=True, add_special_tokens=True,
                       return_tensors='pt')
    return encoder(tokens.input_ids)[0]
