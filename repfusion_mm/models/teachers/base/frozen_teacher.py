"""What all teachers share: a frozen network, cut off behind its taps."""
from contextlib import nullcontext
from functools import partial
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
from torch import Tensor, nn

from ...labels import class_labels
from ...utils.compiling import compile_options
from ...utils.taps import Taps, drop_weights, modules_behind
from .compiled_taps import CompiledTaps
from .frozen import Frozen

DTYPES = dict(float32=torch.float32, float16=torch.float16,
              bfloat16=torch.bfloat16)


class FrozenTeacher(nn.Module):
    """A network that is looked at, and neither trained nor saved.

    Its channels are known from a copy on the meta device; :meth:`read` gives
    the network with its weights when the Runner calls :meth:`init_weights`.

    Args:
        on_meta (nn.Module): The network without weights, on the meta device.
        taps (Sequence[str]): Module paths inside it.
        *trial (Any): Arguments of a trial forward pass, on the meta device.
        dtype (str, optional): ``'float32'``, ``'float16'`` or ``'bfloat16'``.
        channels_last (bool): Whether it computes in that memory format.
        compile (bool or dict): Whether it is compiled, or
            ``torch.compile``'s arguments.
        hidden (Callable, optional): As in :class:`Taps`.
        **named (Any): Further arguments of the trial, by their names.
    """
    reads_labels = False  # whether the features depend on the labels
    allows_label_leak = False  # whether a reward may read them from there
    hidden_first = False  # as in `Taps`
    looks_once = False  # at the whole images of a data set, and no others
    _device_of: Tensor

    def __init__(self, on_meta: nn.Module, taps: Sequence[str], *trial: Any,
                 dtype: Optional[str] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 hidden: Optional[Callable[[str, Any], Any]] = None,
                 **named: Any) -> None:
        super().__init__()
        if dtype is not None and dtype not in DTYPES:
            raise ValueError(f'`teacher.dtype` is {dtype!r}, expected one of '
                             f'{sorted(DTYPES)} or None')
        self.dtype = DTYPES[dtype] if dtype else None
        self.memory_format = torch.channels_last if channels_last \
            else torch.contiguous_format
        self.compile_options = compile_options(compile, 'teacher.compile')
        call = partial(on_meta, **named)
        self._taps = Taps(on_meta, taps, *trial, call=call,
                          key='teacher.taps', hidden=hidden,
                          hidden_first=self.hidden_first)
        self._behind = modules_behind(on_meta, self._taps, *trial, call=call)
        self._frozen: Optional[Frozen] = None
        self._beside: Dict[str, Frozen] = {}
        self._compiled: Optional[CompiledTaps] = None
        # remembers where `.to()` put the model before the weights are read
        self.register_buffer('_device_of', torch.empty(0), persistent=False)

    def read_samples(self, data_samples: Sequence) -> Optional[Tensor]:
        """What the teacher is told of the samples beside their images.

        Args:
            data_samples (Sequence[DataSample]): Those of a batch.

        Returns:
            Tensor, optional: Labels, long, (N,), if the features depend on
            them.
        """
        return class_labels(data_samples) if self.reads_labels else None

    @property
    def feature_shapes(self) -> Dict[str, Tuple[int, ...]]:
        """Shape of each tap's feature without the batch, (C, H, W)."""
        return self._taps.shapes

    @property
    def network(self) -> Optional[nn.Module]:
        """The network, cut off behind the deepest tap; None if not read."""
        return self._frozen.module if self._frozen else None

    def weights(self) -> Iterator[Tuple[str, Tensor]]:
        """All that the features depend on, beside the arguments.

        Yields:
            tuple[str, Tensor]: Names and tensors, the network's first.
        """
        assert self._frozen is not None  # `init_weights` has been called
        yield from self._frozen.module.state_dict().items()
        for whose, frozen in self._beside.items():
            for name, value in frozen.module.state_dict().items():
                yield f'{whose}:{name}', value

    def read(self) -> nn.Module:
        """The whole network with its weights, on the CPU."""
        raise NotImplementedError

    def read_beside(self) -> Dict[str, nn.Module]:
        """What else is held beside the network, by name, on the CPU."""
        return {}

    def init_weights(self) -> None:
        """Read the weights, once.

        Raises:
            OSError: If they cannot be read, or are damaged or incomplete.
            ValueError: If they are those of another network.
        """
        if self._frozen is not None:
            return
        network: Any = self.read()  # `memory_format` has no types
        drop_weights(network, self._behind)
        device = self._device_of.device
        self._beside = {name: Frozen(module.to(device)) for name, module
                        in self.read_beside().items()}
        self._hold(Frozen(network.to(
            device, self.dtype, memory_format=self.memory_format)))

    def features(self, inputs: Tensor, *args: Any,
                 **kwargs: Any) -> Dict[str, Tensor]:
        """Features at the taps, computed in the teacher's own precision.

        Args:
            inputs (Tensor): As the network takes them, (N, C, H, W).
            *args (Any): What else it takes.
            **kwargs (Any): Likewise.

        Returns:
            dict[str, Tensor]: Float32 feature by tap.

        Raises:
            RuntimeError: If the weights have not been read yet.
        """
        features = self.own_features(inputs, *args, **kwargs)
        return {tap: feature.float() for tap, feature in features.items()}

    def check_read(self) -> None:
        """Refuse to look before the weights have been read.

        Raises:
            RuntimeError: If they have not.
        """
        if self._frozen is None:
            raise RuntimeError('the teacher has no weights yet: the Runner '
                               'calls `init_weights()` before training')

    def own_features(self, inputs: Tensor, *args: Any,
                     **kwargs: Any) -> Dict[str, Tensor]:
        """As :meth:`features`, before they become float32."""
        self.check_read()
        own_precision = nullcontext() if self.dtype is None else \
            torch.autocast(inputs.device.type, enabled=False)
        inputs = inputs.to(self.dtype).contiguous()
        if inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=self.memory_format)
        with own_precision:
            return self._run(inputs, *args, **kwargs) \
                if self._compiled is None else \
                self._compiled(self._run, inputs, *args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:
        network = self.network
        assert network is not None  # `own_features` has looked
        return self._taps.forward(network, *args, stop=True,
                                  call=partial(network, **kwargs))[1]

    def _apply(self, fn: Callable[[Tensor], Tensor],
               recurse: bool = True) -> 'FrozenTeacher':
        super()._apply(fn)
        self._beside = {name: frozen.moved(fn) for name, frozen
                        in self._beside.items()}
        if self._frozen is not None:
            moved = self._frozen.moved(fn)
            if moved is not self._frozen:
                self._hold(moved)
        return self

    def _hold(self, frozen: Frozen) -> None:
        self._frozen = frozen
        # what is recorded of a network is of that one alone
        self._compiled = None if self.compile_options is None else \
            CompiledTaps(self.compile_options)
