"""Consistency models: a U-Net of images that is told a sigma."""
from typing import Any, Optional, Sequence, Union

from ..processes import EDMProcess
from .families import family
from .files import has, read_json
from .folder import FolderSource, Options, unet_grids
from .layout import Layout

SCHEDULER = 'scheduler/scheduler_config.json'
# of diffusers' CMStochasticIterativeScheduler, where a config says nothing
DEFAULTS = dict(sigma_min=0.002, sigma_max=80., sigma_data=0.5, rho=7.)


@family('ConsistencyModelPipeline',
        'UNet2DModel+CMStochasticIterativeScheduler')
class ConsistencyModel(FolderSource):
    """A consistency model, distilled or trained.

    Its t counts 1,000 steps of the schedule of sigmas that it was trained
    with, and what it is told is 250 log(sigma).

    Source: Song et al., "Consistency Models", ICML 2023, appendix C.
    """

    def __init__(self, layout: Layout, options: Options) -> None:
        super().__init__(layout, options)
        given = read_json(layout.files, SCHEDULER) \
            if has(layout.files, SCHEDULER) else {}
        self._process = EDMProcess(
            log_scale=250., **{name: given.get(name, default)
                               for name, default in DEFAULTS.items()})

    @property
    def process(self) -> EDMProcess:
        """As of :class:`Source`."""
        return self._process

    def settle(self, config: Any,
               size: Optional[Union[int, Sequence[int]]], key: str) -> None:
        """As of :class:`Source`."""
        super().settle(config, size, key)
        self.grids = unet_grids(config, self.image_size)
