"""How the names of one library's parameters become another's."""
import re
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor

Rules = Sequence[Tuple[str, str]]
# the four neighbours that Swin merges, in the libraries' order: mm* goes along
# the rows, all others along the columns
NEIGHBOURS = (0, 2, 1, 3)


class Model(NamedTuple):
    """A model of another library, and weights for it.

    Attributes:
        weights (dict[str, Tensor]): By the names that they have there.
        name (str): Of the model.
        options (dict[str, Any]): What it is built with.
        head (str): Path of what lies behind the features there.
        note (str): What else there is to say.
    """
    weights: Dict[str, Tensor]
    name: str
    options: Dict[str, Any]
    head: str
    note: str = ''


Convert = Callable[[Dict[str, Tensor]], Model]


def renamed(weights: Dict[str, Tensor], rules: Rules) -> Dict[str, Tensor]:
    """Weights under other names.

    Args:
        weights (dict[str, Tensor]): A state dict.
        rules (Sequence[tuple[str, str]]): Expressions and what is put in
            their place, one after the other.

    Returns:
        dict[str, Tensor]: The same.
    """
    names = {}
    for key in weights:
        name = key
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        names[name] = weights[key]
    return names


def depths(weights: Dict[str, Tensor], block: str) -> Tuple[int, ...]:
    """How many blocks each stage has.

    Args:
        weights (dict[str, Tensor]): A state dict.
        block (str): An expression of two groups, the stage and the block.

    Returns:
        tuple[int]: Of each stage.
    """
    stages: Dict[int, int] = {}
    for key in weights:
        found = re.match(block, key)
        if found:
            stage, index = map(int, found.groups())
            stages[stage] = max(stages.get(stage, 0), index + 1)
    return tuple(stages[stage] for stage in sorted(stages))


def merged_by_columns(weights: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """A Swin whose patches are merged in the order of the original.

    Args:
        weights (dict[str, Tensor]): State dict of an mm* library's.

    Returns:
        dict[str, Tensor]: With other norms and reductions between stages.
    """
    merged = dict(weights)
    for key, value in weights.items():
        if re.search(r'\.downsample\.(norm|reduction)\.', key):
            channels = value.size(-1) // 4
            parts = value.reshape(*value.shape[:-1], channels, 4)
            merged[key] = torch.cat(
                [parts[..., index] for index in NEIGHBOURS], -1)
    return merged


def last_norm_only(weights: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Without the norms of the outputs before the last.

    Args:
        weights (dict[str, Tensor]): State dict of a ConvNeXt or a Swin.

    Returns:
        dict[str, Tensor]: The rest.
    """
    return {key: value for key, value in weights.items()
            if not re.match(r'norm[0-2]\.', key)}


def pick(models: Dict[Any, str], found: Any, library: str,
         family: str) -> str:
    """The name of the model that is built like this.

    Args:
        models (dict[Any, str]): Names, by how the model is built.
        found (Any): How this one is.
        library (str): Which has them.
        family (str): For the error message.

    Returns:
        str: Its name.

    Raises:
        ValueError: If there is none.
    """
    if found not in models:
        known: List[str] = [f'{name} {built}' for built, name
                            in models.items()]
        raise ValueError(
            f'{library} has no {family} that is built like this one, {found} '
            f'(blocks of each stage, width): expected {", ".join(known)}')
    return models[found]
