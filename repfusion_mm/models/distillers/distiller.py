"""What distilling a diffusion model takes, whatever the student is part of."""
import math
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..building import build_part
from ..compiling import compile_between_taps, compile_options
from ..nearest import nearest
from ..raw_images import CHANNEL_ORDERS, raw_images
from ..taps import Taps
from .finite_check import FiniteCheck
from .teachers_view import TeachersView


class Distiller(BaseModel):
    """Teacher, time sampler, connections and reward around a student.

    Args:
        data_preprocessor (dict or nn.Module): Of the student.
        channel_order (str): Order of the channels that the student sees.
        channels_last (bool): Whether the student computes in that memory
            format.
        compile (bool or dict): Whether the student is compiled, or
            ``torch.compile``'s arguments.
        init_cfg (dict, optional): Initialisation. Defaults to None.

    Attributes:
        timesteps (Tensor): The last ones drawn, for hooks to look at.
        unlogged (list): Where :class:`DeferLogHook` makes it one, the names
            and values of the losses that were not logged yet.
        finite (FiniteCheck): Stops the training at NaN.
    """

    def __init__(self,
                 data_preprocessor: Union[dict, nn.Module],
                 channel_order: str,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f'`channel_order` is {channel_order!r}, expected '
                             f'one of {CHANNEL_ORDERS}')
        self.channel_order = channel_order
        self.channels_last = channels_last
        self.compile_options = compile_options(compile, 'compile')
        self.timesteps = None
        self.unlogged = None
        self.finite = FiniteCheck()

    def build_distillation(self, student: nn.Module, teacher: dict,
                           time_sampler: dict, connections: Sequence[dict],
                           reward: Optional[dict],
                           regressor: Optional[dict],
                           call: Optional[Callable] = None) -> None:
        """Build the parts, and check that they fit together.

        Args:
            student (nn.Module): What the student taps are rooted at.
            teacher (dict): The teacher.
            time_sampler (dict): Where t comes from.
            connections (Sequence[dict]): Pairs of taps with their losses.
            reward (dict, optional): What a t was worth.
            regressor (dict, optional): What makes features of the student's
                outputs for connections to tap.
            call (Callable, optional): The student's method that an image is
                given to. Defaults to None: the student itself.

        Raises:
            ValueError: If they do not fit.
        """
        _check_pairs(connections)
        taps = [connection['teacher_tap'] for connection in connections]
        if reward is not None and reward.get('tap'):
            taps.append(reward['tap'])
        self.teacher = build_part('teacher', teacher,
                                  taps=list(dict.fromkeys(taps)))
        teacher_shapes = self.teacher.feature_shapes
        for tap in taps:
            if tap not in teacher_shapes:
                raise ValueError(f'`teacher.taps` is {list(teacher_shapes)} '
                                 f'but a connection or the reward needs '
                                 f'{tap!r}')
        shapes = self._find_student(
            student, [connection['student_tap'] for connection in connections],
            regressor, call)
        self.connections = nn.ModuleList(
            build_part(
                f'connections[{index}]', connection,
                type='repfusion_mm.Connection',
                student_shape=shapes[connection['student_tap']],
                teacher_shape=teacher_shapes[connection['teacher_tap']])
            for index, connection in enumerate(connections))
        self.time_sampler = build_part('time_sampler', time_sampler)
        self._check_time_sampler()
        self.reward = None if reward is None else build_part(
            'reward', reward, feature_shapes=teacher_shapes,
            student_shapes=shapes,
            num_timesteps=self.teacher.num_timesteps)
        self._check_reward()
        if self.teacher.looks_once:
            self._check_bank()

    def prepare_student(self, backbone: nn.Module, prefix: str = '') -> None:
        """Lay out and compile the student as the config says.

        Args:
            backbone (nn.Module): The student, without what lies behind it.
            prefix (str): Of its modules' paths in the student taps. Defaults
                to ``''``.
        """
        if self.channels_last:
            backbone.to(memory_format=torch.channels_last)
        if self.compile_options is not None:
            compile_between_taps(
                backbone, [tap[len(prefix):] for tap in self.taps.paths
                           if tap.startswith(prefix)], self.compile_options)

    def parse_losses(self, losses: Dict[str, Tensor]
                     ) -> Tuple[Tensor, Dict[str, Tensor]]:
        """The sum to minimise, and what is logged.

        Args:
            losses (dict[str, Tensor]): What :meth:`forward` returned.

        Returns:
            tuple: The sum, and the values to log; empty if they are kept for
            later.
        """
        loss, log = super().parse_losses(losses)
        if self.unlogged is None:
            return loss, log
        self.unlogged.append((list(log), torch.stack(
            [value.detach().to(loss.device, torch.float32, non_blocking=True)
             for value in log.values()])))
        return loss, {}

    def student_features(self, student: nn.Module, inputs: Tensor,
                         call: Optional[Callable] = None
                         ) -> Tuple[Any, Dict[str, Tensor]]:
        """Run the student and collect what the connections tap.

        Args:
            student (nn.Module): What the student taps are rooted at.
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            call (Callable, optional): As in :meth:`build_distillation`.

        Returns:
            tuple: The student's output, and its features by tap.

        Raises:
            ValueError: If the feature of a layer that is trained has no
                gradient.
        """
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        output, features = self.taps.forward(student, inputs, call=call)
        for tap, feature in features.items():
            if torch.is_grad_enabled() and not feature.requires_grad and \
                    _is_trained(student, tap):
                raise ValueError(
                    f'`connections.student_tap` names {tap!r}, whose feature '
                    'has no gradient, so that the student would learn nothing '
                    'from it: it lies inside a block that is computed once '
                    'more in the backward pass (`with_cp=True`); tap the '
                    'whole block')
        return output, {**features, **self._regress(output)}

    def teachers_view(self, inputs: Tensor,
                      data_samples: List) -> TeachersView:
        """Draw the time steps, and let the teacher look at the images.

        Called before the student's forward pass, for the sake of memory: what
        the teacher computes on the way to its taps is free again before
        the student's activations fill up.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_samples (list): Their labels, where there are any.

        Returns:
            TeachersView: For :meth:`distillation_loss`.
        """
        images = raw_images(inputs, self.data_preprocessor,
                            self.channel_order)
        sample = self.time_sampler(images)
        self.timesteps = sample.timesteps
        told = self.teacher.read_samples(data_samples)
        return TeachersView(images, sample, told, [
            self.teacher(images, timesteps, told)
            for timesteps in sample.timesteps.view(-1, len(images))])

    def distillation_loss(self, view: TeachersView,
                          student: Dict[str, Tensor],
                          data_samples: List) -> Dict[str, Tensor]:
        """One step of distillation.

        Args:
            view (TeachersView): What the teacher made of the batch.
            student (dict[str, Tensor]): The student's features, by tap.
            data_samples (list): Their labels, where there are any.

        Returns:
            dict[str, Tensor]: Losses, and ``mean_t`` and ``mean_reward`` for
            the log.

        Raises:
            FloatingPointError: If a feature is not finite; its tap is named.
        """
        images, sample, told, ranges = view
        losses = {}
        for index, connection in enumerate(self.connections):
            teacher = ranges[index if len(ranges) > 1 else 0]
            losses[f'loss_feature{index or ""}'] = connection(
                student[connection.student_tap],
                teacher[connection.teacher_tap])
        loss_feature = sum(losses.values())
        losses['mean_t'] = sample.timesteps.float().mean()
        if self.reward is not None:
            reward, mask, reward_losses = self.reward(
                images, ranges[0], data_samples, student,
                look=lambda others: self.teacher(
                    others, sample.timesteps, told),
                loss_feature=loss_feature, timesteps=sample.timesteps)
            losses.update(reward_losses)
            losses.update(self.time_sampler.loss(sample, reward, mask))
            losses['mean_reward'] = (reward * mask).sum() / \
                mask.sum().clamp(min=1)
        self.finite.check(
            [(f'the {whose} {tap!r}', feature)
             for whose, features in [('student\'s', student),
                                     *(('teacher\'s', one) for one in ranges)]
             for tap, feature in features.items()], losses)
        return losses

    def check_samples(self, data_samples: Sequence) -> None:
        """Look at a batch's labels while they are in the host's memory.

        On a GPU it is too late: a class id out of range ends the process.

        Args:
            data_samples (Sequence): Of a batch, before it is preprocessed.

        Raises:
            ValueError: If the teacher or the reward cannot read one.
        """
        for part in (self.teacher, self.reward):
            if hasattr(part, 'check_samples'):
                part.check_samples(data_samples)

    def _find_student(self, student: nn.Module, paths: Sequence[str],
                      regressor: Optional[dict],
                      call: Optional[Callable]) -> Dict[str, tuple]:
        """Settle the student's taps by a trial image; returns their shapes.

        The image's sides are multiples of 64, which any downsampling can take.
        """
        first = next((module for module in student.modules()
                      if isinstance(module, nn.Conv2d)), None)
        side = math.ceil(max(self.teacher.image_size) / 64) * 64
        image = torch.zeros(1, first.in_channels if first else 3, side, side,
                            device=next(student.parameters()).device)
        training = student.training
        student.eval()
        own = [path for path in paths if not path.startswith('regressor.')]
        self.taps = Taps(student, own, image, call=call,
                         key='connections.student_tap')
        self.regressor = None
        shapes = dict(self.taps.shapes)
        if regressor is not None:
            with torch.no_grad():
                output = (call or student)(image)
                self.regressor = build_part(
                    'regressor', regressor,
                    in_channels=[f.size(1) for f in _as_tuple(output)]).eval()
                shapes.update((tap, tuple(feature.shape[1:])) for tap, feature
                              in self._regress(output).items())
                self.regressor.train()
        student.train(training)
        for path in paths:
            if path not in shapes:
                raise ValueError(
                    f'`connections.student_tap` names {path!r}, but '
                    + ('there is no `regressor`' if regressor is None else
                       f'`regressor` gives {nearest(path, shapes)}'))
        return shapes

    def _regress(self, output: Any) -> Dict[str, Tensor]:
        """The regressor's features, by tap."""
        if self.regressor is None:
            return {}
        return {f'regressor.{index}': feature for index, feature
                in enumerate(_as_tuple(self.regressor(_as_tuple(output))))}

    def _check_time_sampler(self) -> None:
        sampler = self.time_sampler
        if sampler.num_ranges not in (1, len(self.connections)):
            raise ValueError(
                f'`time_sampler` has {sampler.num_ranges} ranges, but there '
                f'are {len(self.connections)} `connections`')
        if sampler.max_timestep >= self.teacher.num_timesteps:
            raise ValueError(
                f'`time_sampler` may draw t = {sampler.max_timestep}, but the '
                f'teacher knows 0 to {self.teacher.num_timesteps - 1}')

    def _check_reward(self) -> None:
        if self.reward is None:
            if any(p.requires_grad for p in self.time_sampler.parameters()):
                raise ValueError(
                    f'{type(self.time_sampler).__name__} learns from a '
                    'reward: set `reward`, for example to '
                    'repfusion_mm.ClassificationReward')
            return
        if getattr(self.data_preprocessor, 'batch_augments', None) and \
                self.reward.reads_labels:
            raise ValueError(
                '`data_preprocessor.batch_augments` mixes labels, which '
                '`reward` cannot read; leave out one of the two')
        if self.time_sampler.num_ranges > 1:
            raise ValueError('`reward` says what one t an image was worth, '
                             'but `time_sampler` has a range for each '
                             'connection; leave out one of the two')
        if self.reward.reads_labels and self.teacher.reads_labels and \
                not self.teacher.allows_label_leak:
            raise ValueError(
                '`teacher.class_condition` gives the true label to the '
                'teacher, and `reward` reads it from the teacher\'s features '
                'again: any t would look good. Use a fixed class or an '
                'average, a reward without labels, or ask for it by '
                '`class_condition=dict(..., leak_labels=True)`')

    def _check_bank(self) -> None:
        if getattr(self.data_preprocessor, 'batch_augments', None):
            raise ValueError(
                '`data_preprocessor.batch_augments` mixes images, and a '
                'feature bank holds none of the mixtures; leave out one of '
                'the two')
        if getattr(self.reward, 'shows_views', False):
            raise ValueError(
                f'`reward` is a {type(self.reward).__name__}, which shows the '
                'teacher views that no feature bank holds; use another '
                'reward, or leave out the bank')


def _is_trained(student: nn.Module, tap: str) -> bool:
    """Whether the tapped module, or the first around it that could, learns."""
    while True:
        parameters = [] if tap.startswith('out.') else list(
            student.get_submodule(tap).parameters())
        if parameters or not tap:
            return any(p.requires_grad for p in parameters)
        tap = tap.rpartition('.')[0]


def _check_pairs(connections: Sequence[dict]) -> None:
    if not connections:
        raise ValueError('`connections` is empty: the student would learn '
                         'nothing')
    for index, connection in enumerate(connections):
        for key in ('student_tap', 'teacher_tap'):
            if key not in connection:
                raise ValueError(f'`connections[{index}]` has no `{key}`: '
                                 f'{connection}')
    pairs = [(connection['student_tap'], connection['teacher_tap'])
             for connection in connections]
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise ValueError(
                '`connections` names the same pair of taps twice, student '
                f'{pair[0]!r} and teacher {pair[1]!r}; tap another module, or '
                'keep one of them')


def _as_tuple(output: Any) -> tuple:
    return tuple(output) if isinstance(output, (tuple, list)) else (output, )
