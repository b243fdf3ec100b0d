"""A teacher that looks at each image once."""
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Count, Index
from repfusion_mm.registry import MODELS

from ...utils.building import build_part
from .computing import compute_rows, whole_image
from .images import BankImages, NoImageError
from .key import places, settings
from .opening import open_bank, read_weights
from .store import FeatureBank, read_key
from .stored_times import bin_of_each_t, check_ranges
from .views import check_teacher, is_mirrored


@MODELS.register_module()
class BankedTeacher(nn.Module):
    """Another teacher's pooled features, computed once and then kept on disk.

    The teacher is frozen, so that z(t) of an image is always the same, where
    t is one of a few. Here the teacher sees the whole image, whichever crop
    of it the student sees, mirrored where the student's is; its features are
    averaged over their positions and stored in half precision. What the bank
    does not hold yet is computed when it is drawn, or ahead, by
    ``tools/analysis_tools/fill_bank.py``. Once it is full, the teacher's
    weights are not read, and need not be there.

    The bank belongs to one teacher, its taps, these time steps and this data
    set: another one is refused. A row that a killed process left half-written
    is written again, and several processes may fill one bank.

    Args:
        teacher (dict): The teacher, such as a :class:`UNetTeacher`.
        bank (str): Folder of the bank.
        dataset (dict): The whole images: the training's data set, with a
            pipeline that only loads, and maybe resizes, and packs. Images in
            files are known by their path, others by their ``sample_idx``.
        channel_order (str): Order of the channels that ``dataset`` gives:
            ``'bgr'`` where ``LoadImageFromFile`` reads them, ``'rgb'`` for
            mmpretrain's CIFAR.
        raw_image (dict, optional): What ``dataset`` gives, where it is not
            pixels of 0 to 255 in one or three channels, as in
            :class:`RepFusion`. Defaults to None.
        timesteps (Sequence[int]): The t that are stored.
        bin_width (int): How many t each stored one stands for: w from
            t - w // 2 on. With the 20 bins of a ``ReinforcedTime``,
            ``list(range(25, 1000, 50))`` and 50: the middle of each bin
            stands for all of it. Defaults to 1: only the stored t may be
            drawn.
        flips (bool): Whether the training mirrors images, which takes a
            second entry for each. Defaults to True.
        taps (Sequence[str], optional): As in the teacher.

    Raises:
        ValueError: If the teacher looks differently at an image each time, or
            knows its label; if the time steps overlap or are out of range;
            or, by :meth:`init_weights`, if the bank is of something else.
        FileNotFoundError: If there is no teacher, and no full bank either.

    Example:
        >>> teacher = dict(
        ...     type='repfusion_mm.BankedTeacher',
        ...     teacher=dict(
        ...         type='repfusion_mm.UNetTeacher',
        ...         config=dict(
        ...             sample_size=32, block_out_channels=(32, 64),
        ...             down_block_types=('DownBlock2D', 'DownBlock2D'),
        ...             up_block_types=('UpBlock2D', 'UpBlock2D'))),
        ...     bank='work_dirs/bank_cifar10',
        ...     dataset=dict(type='mmpretrain.CIFAR10',
        ...                  data_root='data/cifar10', split='train',
        ...                  pipeline=[dict(type='mmpretrain.PackInputs')]),
        ...     channel_order='rgb',
        ...     timesteps=[100])
    """
    reads_labels = False
    allows_label_leak = False
    looks_once = True  # at the images of the data set, and at no others
    teacher: Any  # None where a full bank does without

    def __init__(self,
                 teacher: dict,
                 bank: str,
                 dataset: dict,
                 channel_order: str,
                 timesteps: Sequence[Index],
                 bin_width: Count = 1,
                 flips: bool = True,
                 taps: Optional[Sequence[str]] = None,
                 raw_image: Optional[dict] = None) -> None:
        super().__init__()
        self.folder, self.dataset = bank, dataset
        self.channel_order, self.raw_image = channel_order, raw_image
        self._source = teacher
        try:
            self.teacher = build_part('teacher', teacher, taps=taps)
        except FileNotFoundError:
            key = read_key(bank)
            if key is None or not FeatureBank(bank).is_full:
                raise
            self.teacher = None
            shapes = key['taps']
            if taps is not None:  # one that is not there is refused later
                shapes = {tap: shapes[tap] for tap in taps if tap in shapes}
            self.num_timesteps = key['num_timesteps']
            self.image_size = tuple(key['image_size'])
        else:
            check_teacher(self.teacher)
            shapes = {tap: shape[0] for tap, shape
                      in self.teacher.feature_shapes.items()}
            self.num_timesteps = self.teacher.num_timesteps
            self.image_size = self.teacher.image_size
        self.feature_shapes: Dict[str, Tuple[int]] = {
            tap: (width, ) for tap, width in shapes.items()}
        self._columns = sorted(self.feature_shapes)  # order of taps in a row
        self.timesteps, self.bin_width = list(timesteps), bin_width
        self.flips = flips
        self._bin_of = bin_of_each_t(self.timesteps, bin_width,
                                     self.num_timesteps)
        self._bank: Any = None  # a FeatureBank, once open
        self._images: Any = None  # BankImages, likewise

    def init_weights(self) -> None:
        """Open the bank, or lay it out; read the teacher if it is needed.

        Raises:
            OSError: If the teacher is needed and cannot be read, or the disk
                is too small.
            ValueError: If the bank is of something else.
        """
        if self._bank is not None:
            return
        self._images = BankImages(self.dataset, self.channel_order,
                                  self.raw_image)
        key = dict(
            teacher=settings(self._source),
            taps={tap: shape[0] for tap, shape
                  in self.feature_shapes.items()},
            timesteps=self.timesteps, bin_width=self.bin_width,
            flips=self.flips, images=len(self._images),
            dataset=self._images.digest, num_timesteps=self.num_timesteps,
            image_size=list(self.image_size), places=places(self._source))
        per_image = len(self.timesteps) * (2 if self.flips else 1)
        self._bank = open_bank(
            self.folder, key, len(self._images) * per_image,
            lambda bank: read_weights(self.teacher, self._source, bank))

    def read_samples(self, data_samples: Sequence) -> Tensor:
        """Which entry of the bank's images each data sample is of.

        Args:
            data_samples (Sequence[DataSample]): With ``img_path`` or
                ``sample_idx``, and with ``flip``.

        Returns:
            Tensor: Long, (N,): twice the image's number, and 1 more where it
            is mirrored.

        Raises:
            ValueError: If an image is not in the bank's data set, or is
                mirrored otherwise than left to right.
        """
        return torch.tensor([
            2 * self._images.row(sample) + is_mirrored(sample, self.flips)
            for sample in data_samples])

    @torch.no_grad()
    def forward(self,
                images: Tensor,
                timesteps: Tensor,
                views: Optional[Tensor] = None) -> Dict[str, Tensor]:
        """Features of whole images at the stored time steps.

        Args:
            images (Tensor): What the student sees, (N, 3, H, W). Not used.
            timesteps (Tensor): Long, (N,).
            views (Tensor): As :meth:`read_samples` gives them, (N,).

        Returns:
            dict[str, Tensor]: Float32 feature by tap, (N, C).

        Raises:
            RuntimeError: If the bank has not been opened yet.
            ValueError: If a time step is not stored.
        """
        if self._bank is None:
            raise RuntimeError('the bank is not open yet: the Runner calls '
                               '`init_weights()` before training')
        assert views is not None  # `read_samples` gave them
        device = timesteps.device
        kept = None if device.type == 'cpu' else self._bank.on(device)
        rows = self._drawn(timesteps, views) if kept is None else \
            self._drawn_there(timesteps, views, kept)
        widths = [self.feature_shapes[tap][0] for tap in self._columns]
        return dict(zip(self._columns, rows.float().split(widths, 1)))

    def check_ranges(self, ranges: Sequence[Tuple[int, int]]) -> None:
        """Refuse a time sampler that may draw what is not stored.

        Args:
            ranges (Sequence[tuple]): It draws from [low, high) of each.

        Raises:
            ValueError: If some t of them is not stored.
        """
        check_ranges(self._bin_of, ranges, self._stored)

    def fill(self, batch_size: int) -> Iterator[int]:
        """Compute all that the bank does not hold yet.

        Rows of an image that cannot be read, and that the pipeline skips, are
        NaN: a training that skips it as well draws none of them. They are
        computed when the image can be read again.

        Args:
            batch_size (int): Images at a time.

        Yields:
            int: How many entries are left, at first and after each batch.
        """
        missing = self._bank.missing
        yield len(missing)
        for start in range(0, len(missing), batch_size):
            # read: another process may have filled some of them
            self._rows(missing[start:start + batch_size],
                       self.teacher._device_of.device, skip=True)
            yield max(len(missing) - start - batch_size, 0)

    def check_dataset(self, dataset: Any) -> None:
        """Refuse a training on images that the bank is not of.

        Args:
            dataset: Of the training.

        Raises:
            ValueError: If it has one.
        """
        self._images.check(dataset)

    @property
    def _stored(self) -> str:
        return (f'`teacher.timesteps` is {self.timesteps} with '
                f'`teacher.bin_width` {self.bin_width}')

    def _entries(self, views: Tensor, bins: Tensor) -> Tensor:
        """Numbers of the rows of some views at some stored t, long, (N,)."""
        entries = views // 2 * len(self.timesteps) + bins
        return 2 * entries + views % 2 if self.flips else entries

    def _drawn(self, timesteps: Tensor, views: Tensor) -> Tensor:
        """Rows by way of the host, float16, (N, width)."""
        bins = self._bin_of[timesteps.cpu()]
        if bins.min() < 0:
            raise ValueError(
                f't = {int(timesteps[bins.argmin()])} was drawn, but '
                f'{self._stored}; let `time_sampler` draw from these alone')
        device = timesteps.device
        rows = torch.from_numpy(
            self._rows(self._entries(views, bins).numpy(), device))
        if device.type == 'cuda':
            rows = rows.pin_memory()
        return rows.to(device, non_blocking=True)

    def _drawn_there(self, timesteps: Tensor, views: Tensor,
                     kept: Tensor) -> Tensor:
        """Rows that are on the GPU already; it need not be waited for."""
        bins = self._bin_of.to(kept.device, non_blocking=True)[timesteps]
        views = views.to(kept.device, non_blocking=True)
        rows = kept.index_select(0, self._entries(views, bins).clamp(min=0))
        # of a sampler that `check_ranges` was not told of: the loss says so
        return rows.masked_fill((bins < 0)[:, None], torch.nan)

    def _rows(self, entries: np.ndarray, device: torch.device,
              skip: bool = False) -> np.ndarray:
        """Rows of the bank, computed where they are not there."""
        rows, whole = self._bank.read(entries)
        whole &= np.isfinite(rows).all(1)  # an image that was skipped
        if not whole.all():
            lacking, where = np.unique(entries[~whole], return_inverse=True)
            found = self._compute(lacking, device, skip)
            self._bank.write(lacking, found)
            rows[~whole] = found[where]
        return rows

    def _compute(self, entries: np.ndarray, device: torch.device,
                 skip: bool = False) -> np.ndarray:
        if self.teacher is None:
            raise FileNotFoundError(
                f'`teacher.bank` {self.folder!r} has damaged rows, and the '
                'teacher that could compute them again is not there: '
                f'{self._source}')
        self.teacher.init_weights()  # not read yet if the bank was full
        mirrored = entries % 2 if self.flips else np.zeros_like(entries)
        entries = entries // 2 if self.flips else entries
        numbers, bins = np.divmod(entries, len(self.timesteps))
        # a view has an entry for each bin, and they lie together
        views, which = np.unique(2 * numbers + mirrored, return_inverse=True)
        images = [self._load(view // 2, skip) for view in views.tolist()]
        there = np.array([image is not None for image in images])
        rows = np.full((len(entries), sum(
            shape[0] for shape in self.feature_shapes.values())), np.nan,
            np.float16)
        if there.any():
            loaded = torch.cat([
                whole_image(image, self.image_size, view % 2)
                for image, view in zip(images, views.tolist())
                if image is not None])
            kept = there[which]  # entries whose image is there
            timesteps = torch.tensor(self.timesteps)[
                torch.from_numpy(bins[kept])]
            rows[kept] = compute_rows(
                self.teacher, loaded,
                torch.from_numpy((there.cumsum() - 1)[which[kept]]),
                timesteps, self._columns, device)
        return rows

    def _load(self, row: int, skip: bool) -> Optional[Tensor]:
        try:
            return self._images.load(row)
        except NoImageError:
            if skip:
                return None
            raise
