"""Weights of guided-diffusion's checkpoints, for a diffusers denoiser."""
from typing import Any, Callable, Dict, Iterable, Iterator, List, Tuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from ..base import Source
from ..weights_file import read_weights_file
from .denoiser import build_guided_denoiser
from .flags import (
    BETA_SCHEDULES,
    attends,
    linear_betas,
    num_heads,
    time_scale,
)

ANCHOR = 'time_embed.0.weight'  # every checkpoint has it
# names inside a residual block and inside an attention block
_RESNET = {
    'in_layers.0': ['norm1'],
    'in_layers.2': ['conv1'],
    'emb_layers.1': ['time_emb_proj'],
    'out_layers.0': ['norm2'],
    'out_layers.3': ['conv2'],
    'skip_connection': ['conv_shortcut']
}
_ATTENTION = {
    'norm': ['group_norm'],
    'qkv': ['to_q', 'to_k', 'to_v'],
    'proj_out': ['to_out.0']
}


class GuidedDiffusionCheckpoint(Source):
    """A denoiser of OpenAI's guided-diffusion.

    Args:
        checkpoint (str): File with its state dict.
        flags (dict): As :func:`settle_flags` returns them.

    Attributes:
        scheduler (diffusers.DDPMScheduler): The noise schedule of the flags.
        time_scale (float): What the denoiser is told for t, by t.
    """

    def __init__(self, checkpoint: str, flags: dict) -> None:
        from diffusers import DDPMScheduler
        self.checkpoint = checkpoint
        self.flags = flags
        self.time_scale = time_scale(flags)
        first, last = linear_betas(flags)  # the cosine schedule has its own
        self.scheduler = DDPMScheduler(
            flags['diffusion_steps'], beta_start=first, beta_end=last,
            beta_schedule=BETA_SCHEDULES[flags['noise_schedule']],
            variance_type='learned_range' if flags['learn_sigma'] else
            'fixed_small',
            prediction_type='sample' if flags['predict_xstart'] else
            'epsilon')

    def build(self) -> Any:
        """The denoiser with random weights."""
        return build_guided_denoiser(self.flags)

    def read(self) -> Any:
        """The denoiser with its weights.

        Returns:
            diffusers.UNet2DModel: In float32, on the CPU.

        Raises:
            OSError: If the file is absent or damaged.
            ValueError: If its weights are not those that the flags describe.
        """
        state = _load(self.checkpoint)
        with torch.device('meta'):
            denoiser = self.build()
        try:
            state = to_diffusers(state, denoiser, self.flags)
        except ValueError as error:
            raise ValueError(f'`checkpoint` is {self.checkpoint!r}, which '
                             f'{error}') from error
        denoiser.load_state_dict(state, assign=True)
        return denoiser.float()


def to_diffusers(state: Dict[str, Tensor], denoiser: nn.Module,
                 flags: dict) -> Dict[str, Tensor]:
    """A guided-diffusion state dict with diffusers' names and shapes.

    Args:
        state (dict[str, Tensor]): guided-diffusion's.
        denoiser (nn.Module): As :func:`build_guided_denoiser` builds it,
            possibly on the meta device.
        flags (dict): As :func:`settle_flags` returns them.

    Returns:
        dict[str, Tensor]: For ``denoiser``.

    Raises:
        ValueError: If keys are missing or surplus, or shapes differ; they
            are named, and the flags that look wrong.
    """
    shapes = {name: tuple(weight.shape)
              for name, weight in denoiser.state_dict().items()}
    targets = {f'{theirs}.{leaf}': [f'{name}.{leaf}' for name in ours]
               for theirs, ours in _modules(denoiser, flags)
               for leaf in ('weight', 'bias') if f'{ours[0]}.{leaf}' in shapes}
    expected = {}
    for key, names in targets.items():
        first, *others = shapes[names[0]]
        expected[key] = (first * len(names), *others)
        # a convolution over positions there, a linear layer here
        if key.endswith(('.qkv.weight', '.proj_out.weight')):
            expected[key] += (1, )
    _check(state, expected)

    converted = {}
    for key, names in targets.items():
        parts: Iterable[Tensor]
        if len(names) == 1:
            parts = [state[key]]
        else:
            width = shapes[names[0]][0]
            heads = num_heads(flags, width)
            if flags['use_new_attention_order']:
                parts = state[key].reshape(3, heads, width // heads, -1)
            else:
                parts = state[key].reshape(
                    heads, 3, width // heads, -1).transpose(0, 1)
        for name, part in zip(names, parts):
            converted[name] = part.reshape(shapes[name])
    return converted


def _modules(denoiser: nn.Module,
             flags: dict) -> List[Tuple[str, List[str]]]:
    """Module names, guided-diffusion's first, that hold weights."""
    levels, blocks = len(flags['channel_mult']), flags['num_res_blocks']
    attended, resnet = attends(flags), flags['resblock_updown']
    pairs = [('time_embed.0', 'time_embedding.linear_1'),
             ('time_embed.2', 'time_embedding.linear_2'),
             ('input_blocks.0.0', 'conv_in'),
             ('middle_block.0', 'mid_block.resnets.0'),
             ('middle_block.1', 'mid_block.attentions.0'),
             ('middle_block.2', 'mid_block.resnets.1'),
             ('out.0', 'conv_norm_out'), ('out.2', 'conv_out')]
    if flags['class_cond']:
        pairs.append(('label_emb', 'class_embedding'))
    index = 1
    for level in range(levels):
        down = f'down_blocks.{level}'
        for block in range(blocks):
            pairs.append((f'input_blocks.{index}.0',
                          f'{down}.resnets.{block}'))
            if attended[level]:
                pairs.append((f'input_blocks.{index}.1',
                              f'{down}.attentions.{block}'))
            index += 1
        if level < levels - 1:
            pairs.append((f'input_blocks.{index}.0' + ('' if resnet else
                                                       '.op'),
                          f'{down}.downsamplers.0' + ('' if resnet else
                                                      '.conv')))
            index += 1
    index = 0
    for level in reversed(range(levels)):
        up = f'up_blocks.{levels - 1 - level}'
        for block in range(blocks + 1):
            inside = f'output_blocks.{index}'
            pairs.append((f'{inside}.0', f'{up}.resnets.{block}'))
            if attended[level]:
                pairs.append((f'{inside}.1', f'{up}.attentions.{block}'))
            if level and block == blocks:
                last = f'{inside}.{2 if attended[level] else 1}'
                conv = '' if resnet else '.conv'
                pairs.append((f'{last}{conv}', f'{up}.upsamplers.0{conv}'))
            index += 1

    leaves = []
    for theirs, ours in pairs:
        module = denoiser.get_submodule(ours)
        names = _RESNET if hasattr(module, 'conv1') else \
            _ATTENTION if hasattr(module, 'to_q') else None
        if names is None:
            leaves.append((theirs, [ours]))
            continue
        for inner, parts in names.items():
            # a block that keeps its width has no `conv_shortcut`
            if parts[0] != 'conv_shortcut' or module.conv_shortcut:
                leaves.append((f'{theirs}.{inner}',
                               [f'{ours}.{part}' for part in parts]))
    return leaves


def _scale_shift(shapes: dict) -> bool:
    rows, = shapes.get('middle_block.0.emb_layers.1.bias', (0, ))
    width, = shapes.get('middle_block.0.out_layers.0.bias', (0, ))
    return rows == 2 * width


# what a flag leaves in a state dict's names and shapes; the number of heads
# and the attention order leave nothing
_TRACES: Dict[str, Callable[[dict], object]] = {
    '`class_cond`': lambda shapes: 'label_emb.weight' in shapes,
    '`learn_sigma`': lambda shapes: shapes.get('out.2.bias'),
    '`num_channels`': lambda shapes: shapes.get('time_embed.0.weight'),
    '`use_scale_shift_norm`': _scale_shift,
    '`resblock_updown`': lambda shapes: any(
        key.endswith('.op.bias') for key in shapes),
    '`num_res_blocks` or `channel_mult`': lambda shapes: {
        key.split('.')[1] for key in shapes
        if key.startswith('input_blocks.')},
    '`attention_resolutions`': lambda shapes: {
        key for key in shapes if key.endswith('.qkv.bias')},
}


def _check(state: Dict[str, Tensor], expected: Dict[str, tuple]) -> None:
    found = {key: tuple(weight.shape) for key, weight in state.items()}
    wrong = []
    for what, keys in (
            ('missing', [key for key in expected if key not in found]),
            ('surplus', [key for key in found if key not in expected]),
            ('of another shape', [
                f'{key} {found[key]} and not {expected[key]}'
                for key in expected
                if key in found and found[key] != expected[key]])):
        if keys:
            more = ', ...' if len(keys) > 3 else ''
            wrong.append(f'{len(keys)} {what} ({", ".join(keys[:3])}{more})')
    if wrong:
        flags = [flag for flag, trace in _TRACES.items()
                 if trace(found) != trace(expected)]
        raise ValueError(
            f'does not fit guided-diffusion\'s flags: {"; ".join(wrong)}. '
            f'Look at {", ".join(flags) or "`preset` and the flags"}')


def _load(checkpoint: str) -> Dict[str, Tensor]:
    try:
        state = read_weights_file(checkpoint)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'`checkpoint` is {checkpoint!r}, where '
                                'there is no file') from error
    except Exception as error:  # many kinds: truncated, no tensors, a folder
        raise OSError(f'`checkpoint` is {checkpoint!r}, which cannot be '
                      f'read: {error}') from error
    return _unwrapped(state, checkpoint)


def _unwrapped(state: object, checkpoint: str) -> Dict[str, Tensor]:
    """The denoiser's own state dict, whatever it was wrapped in.

    DDP puts ``module.`` before its names, ``torch.compile`` ``_orig_mod.``,
    and trainers write it beside an average, an optimiser and counters.
    """
    weights = dict(_flat(state))
    if any(name.startswith('first_stage_model.') or
           '.first_stage_model.' in name for name in weights):
        raise ValueError(
            f'`checkpoint` is {checkpoint!r}, a latent diffusion model '
            '(`first_stage_model`): its denoiser has never seen pixels; take '
            'one of images')
    prefixes = [name[:-len(ANCHOR)] for name in weights
                if f'.{name}'.endswith(f'.{ANCHOR}')]
    averages = [prefix for prefix in prefixes if 'ema' in prefix.lower()]
    if len(prefixes) > 1 and len(averages) == 1:
        prefixes = averages  # as it would be sampled from
    if len(prefixes) != 1:
        raise ValueError(
            f'`checkpoint` is {checkpoint!r}, which holds '
            + (f'{len(prefixes)} state dicts of guided-diffusion, {prefixes}; '
               'save the one that is meant' if prefixes else
               f'no state dict of guided-diffusion (no {ANCHOR!r})'))
    prefix, = prefixes
    if prefix:
        print_log(f'The weights in {checkpoint} are read from {prefix!r}',
                  'current')
    return {name[len(prefix):]: weight for name, weight in weights.items()
            if name.startswith(prefix)}


def _flat(state: object, prefix: str = '') -> Iterator[Tuple[str, Tensor]]:
    """All tensors of nested dicts, by their names with dots between."""
    if isinstance(state, Tensor):
        yield prefix[:-1], state
    elif isinstance(state, dict):
        for name, value in state.items():
            yield from _flat(value, f'{prefix}{name}.')
