"""Several teachers side by side, in one distillation."""
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..utils.building import build_part


@MODELS.register_module()
class SeveralTeachers(nn.Module):
    """Teachers of any kind, each with taps and a time step of its own.

    A connection names one of them in front of its tap: ``'dino.out.0'``. One
    of them is given the t that the time sampler draws, and so a policy is
    about that one alone; the others have a t that is fixed or uniform. Each
    looks at the images in its own size and range.

    Args:
        teachers (dict[str, dict]): Configs of the teachers, by name.
        timesteps (dict[str, int or Sequence[int]]): Of all but one of them,
            t, or (low, high) of a uniform draw from [low, high).
        taps (Sequence[str], optional): As in the teachers, with their names
            in front. Set by the model.

    Raises:
        ValueError: If not exactly one teacher is left to the time sampler, a
            t is out of range, a tap names no teacher, or one of them is a
            :class:`BankedTeacher`.

    Example:
        >>> denoiser = dict(
        ...     type='repfusion_mm.DiffusionTeacher',
        ...     pretrained='configs/demo/dpm_digits')
        >>> teacher = dict(
        ...     type='repfusion_mm.SeveralTeachers',
        ...     teachers=dict(drawn=denoiser, early=denoiser),
        ...     timesteps=dict(early=10),
        ...     taps=['drawn.mid_block', 'early.down_blocks.0'])
    """
    looks_once = False

    def __init__(self,
                 teachers: Dict[str, dict],
                 timesteps: Dict[str, Union[int, Sequence[int]]],
                 taps: Sequence[str] = ()) -> None:
        super().__init__()
        drawn = [name for name in teachers if name not in timesteps]
        if len(drawn) != 1 or any('.' in name for name in teachers) or \
                not set(timesteps) <= set(teachers):
            raise ValueError(
                f'`teacher.teachers` are {list(teachers)} and '
                f'`teacher.timesteps` those of {list(timesteps)}: exactly one '
                'is left to the time sampler, and the others, and no more, '
                'have a t there; names have no dot')
        self.drawn, = drawn
        own: Dict[str, List[str]] = {name: [] for name in (
            self.drawn, *timesteps)}  # a reward reads the first one's tap
        for tap in taps:
            name, _, path = tap.partition('.')
            if name not in own or not path:
                raise ValueError(
                    f'`teacher.taps` has {tap!r}, expected the name of one of '
                    f'the teachers {list(own)}, a dot, and a tap')
            own[name].append(path)
        self.teachers = nn.ModuleDict()
        for name, paths in own.items():
            self.teachers[name] = teacher = build_part(
                f'teachers.{name}', teachers[name], taps=paths or None)
            if teacher.looks_once:
                raise ValueError(f'`teacher.teachers.{name}` is a '
                                 f'{type(teacher).__name__}, which holds the '
                                 'features of one teacher alone; leave it out')
        self.ranges = {name: _range(t, name, self._named(name).num_timesteps)
                       for name, t in timesteps.items()}
        self.num_timesteps = self._named(self.drawn).num_timesteps
        self.image_size = self._named(self.drawn).image_size
        readers = [one for one in self._all() if one.reads_labels]
        self.reads_labels = bool(readers)
        self.allows_label_leak = bool(readers) and all(
            one.allows_label_leak for one in readers)
        # a feature bank stores one look at an image
        self.add_noise = any(
            high - low > 1 for low, high in self.ranges.values()) or any(
                getattr(one, 'add_noise', False) for one in self._all())
        self.feature_shapes: Dict[str, Tuple[int, ...]] = {
            f'{name}.{tap}': shape for name in own
            for tap, shape in self._named(name).feature_shapes.items()}

    def init_weights(self) -> None:
        """Read the weights of all, once."""
        for teacher in self._all():
            teacher.init_weights()

    def weights(self) -> Iterator[Tuple[str, Tensor]]:
        """As of :class:`FrozenTeacher`, of all."""
        for name in self.teachers:
            for key, value in self._named(name).weights():
                yield f'{name}.{key}', value

    def read_samples(self, data_samples: Sequence) -> Optional[Tensor]:
        """As of :class:`FrozenTeacher`."""
        for teacher in self._all():
            if teacher.reads_labels:
                return teacher.read_samples(data_samples)
        return None

    @torch.no_grad()
    def forward(self,
                images: Tensor,
                timesteps: Tensor,
                labels: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Features of some images.

        Args:
            images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).
            timesteps (Tensor): Long, (N,), of the one that the time sampler
                draws for.
            labels (Tensor, optional): Long, (N,), for those that read them.

        Returns:
            dict[str, Tensor]: Float32 feature by the teacher's name, a dot,
            and its tap.
        """
        features: Dict[str, Tensor] = {}
        for name in self.teachers:
            t = timesteps if name == self.drawn else torch.randint(
                *self.ranges[name], timesteps.shape, device=timesteps.device)
            found = self._named(name)(images, t, labels)
            features.update((f'{name}.{tap}', feature)
                            for tap, feature in found.items())
        return features

    def check_dataset(self, dataset: Any) -> None:
        """As of :class:`DenoiserTeacher`."""
        self._ask('check_dataset', dataset)

    def check_samples(self, data_samples: Sequence) -> None:
        """As of :class:`DenoiserTeacher`."""
        self._ask('check_samples', data_samples)

    def _ask(self, method: str, given: Any) -> None:
        for teacher in self._all():
            if hasattr(teacher, method):
                getattr(teacher, method)(given)

    def _named(self, name: str) -> Any:
        return self.teachers[name]

    def _all(self) -> List[Any]:
        return list(self.teachers.values())


def _range(t: Any, name: str, num_timesteps: int) -> Tuple[int, int]:
    """[low, high) of a teacher's t."""
    low, high = (t, t + 1) if isinstance(t, int) else tuple(t)
    if not 0 <= low < high <= num_timesteps:
        raise ValueError(
            f'`teacher.timesteps.{name}` is {t!r}, expected t from 0 to '
            f'{num_timesteps - 1}, or (low, high) of a draw from [low, high) '
            'among these')
    return low, high
