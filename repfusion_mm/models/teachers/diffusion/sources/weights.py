"""The weights of a diffusers model, in whichever files they are found."""
import re
from typing import Dict, List, Optional

from mmengine.logging import print_log
from torch import Tensor, nn

from repfusion_mm.models.utils.nearest import nearest

from .files import Files, read_json
from .weights_file import read_weights_file

# what the names of the weights, or of the index of several files, are made of
# beside the variant, which stands here or there by diffusers' version
WORDS = ('safetensors', 'bin', 'index', 'json')
LAST = (['safetensors'], ['bin'], ['json'])
SHARD = re.compile(r'-\d+-of-\d+\.')
# names inside attention blocks before diffusers 0.15, still on the hub
OLD_NAMES = {'query': 'to_q', 'key': 'to_k', 'value': 'to_v',
             'proj_attn': 'to_out.0'}


def read_weights(denoiser: nn.Module, files: Files, prefix: str,
                 variant: Optional[str] = None) -> nn.Module:
    """Give a denoiser its weights, every one of them.

    They are read by hand: which of these layouts diffusers reads, and by
    which arguments, differs by its version.

    Args:
        denoiser (nn.Module): Without weights, on the meta device.
        files (Files): Of the pipeline.
        prefix (str): Of the denoiser's files in it.
        variant (str, optional): Such as ``'fp16'``. None: the plain weights,
            or the only variant where there are none.

    Returns:
        nn.Module: The denoiser, in float32, on the CPU.

    Raises:
        OSError: If the weights are absent, truncated, or do not fit.
        ValueError: If there is no such variant, or a choice of them.
    """
    names = files.inside(prefix)
    where = f'{files.where}/{prefix}'.rstrip('/')
    chosen = _choose(names, variant, where)
    shards = [chosen]
    if chosen.endswith('.json'):
        index = read_json(files, f'{prefix}{chosen}').get('weight_map', {})
        shards = sorted(set(index.values()))
        absent = [shard for shard in shards if shard not in names]
        if absent or not shards:
            raise OSError(f'the weights of `teacher.pretrained` in {where!r} '
                          f'are in {len(shards)} files by {chosen!r}, but '
                          f'there is no {", ".join(absent)}')
    state: Dict[str, Tensor] = {}
    for shard in shards:
        try:
            state.update(read_weights_file(
                files.path(f'{prefix}{shard}')))
        except Exception as error:  # many kinds: no network, truncated, ...
            raise OSError(
                f'the weights of `teacher.pretrained` in {where!r} cannot be '
                f'read: {shard!r}: {error}') from error
    own = denoiser.state_dict()
    state = {_new_name(key, own): weight for key, weight in state.items()}
    wrong = dict(
        missing=[key for key in own if key not in state],
        surplus=[key for key in state if key not in own],
        shapes=[f'{key}: {tuple(state[key].shape)}, the config has '
                f'{tuple(weight.shape)}' for key, weight in own.items()
                if key in state and state[key].shape != weight.shape])
    if any(wrong.values()):
        what = '; '.join(f'{len(keys)} {kind} ({", ".join(keys[:3])})'
                         for kind, keys in wrong.items() if keys)
        raise OSError(f'the weights of `teacher.pretrained` in {where!r} do '
                      f'not fit its config: {what}')
    denoiser.load_state_dict(state, assign=True)
    return denoiser.float()


def _choose(names: List[str], variant: Optional[str], where: str) -> str:
    """The file of the weights, or the index of the files that they are in."""
    found: Dict[str, List[str]] = {}  # by variant, '' is none
    for name in names:
        first, *words = name.split('.')
        variant_of = [word for word in words if word not in WORDS]
        if first == 'diffusion_pytorch_model' and len(variant_of) < 2 and \
                words[-1:] in LAST and not SHARD.search(name):
            found.setdefault(''.join(variant_of), []).append(name)
    if not found:
        raise OSError(f'`teacher.pretrained`: no weights in {where!r}, '
                      'expected diffusion_pytorch_model.safetensors or .bin, '
                      'or their index where they are in several files; found '
                      f'{names}')
    variants = [one for one in found if one]
    if variant is None and '' in found:
        variant = ''
    elif variant is None:
        if len(variants) > 1:
            raise ValueError(
                f'`teacher.pretrained`: {where!r} has no weights but the '
                f'variants {variants}; choose one by `teacher.variant`')
        variant = variants[0]
        print_log(f'The weights in {where} are there as the variant '
                  f'{variant!r} alone, which is read', 'current')
    if variant not in found:
        raise ValueError(
            f'`teacher.variant` is {variant!r}, which {where!r} does not '
            'have; ' + (f'nearest: {nearest(variant, variants)}' if variants
                        else 'it has none, leave it out'))
    # without pickle before with it, in one file before in several
    return min(found[variant],
               key=lambda name: ('.bin' in name, '.index' in name))


def _new_name(key: str, own: dict) -> str:
    block, _, rest = key.rpartition('.')  # rest: weight or bias
    block, _, name = block.rpartition('.')
    new = f'{block}.{OLD_NAMES.get(name, name)}.{rest}'
    return new if key not in own and new in own else key
