"""What distilling a diffusion model takes, whatever the student is part of."""
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..rewards.base import RewardInputs
from ..utils.building import build_part
from ..utils.compiling import (
    begin_step,
    compile_between_taps,
    compile_options,
    has_cuda_graphs,
)
from ..utils.finite_check import FiniteCheck
from ..utils.nearest import nearest
from ..utils.raw_images import build_raw_image
from ..utils.without_waiting import without_waiting
from .mix_apart import MixApart, mix_apart
from .more_draws import loss_of_draws
from .part_checks import (
    check_bank,
    check_pairs,
    check_reward,
    check_time_sampler,
)
from .teachers_view import TeachersView
from .trial import trial_sizes, try_student


class Distiller(BaseModel):
    """Teacher, time sampler, connections and reward around a student.

    Args:
        data_preprocessor (dict or nn.Module): Of the student.
        channel_order (str): Order of the channels that the student sees.
        raw_image (dict, optional): What the pipeline gives, if not pixels of
            0 to 255. Defaults to None.
        trial_size (int or Sequence[int], optional): Of an image that the
            student takes. Defaults to None.
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
                 raw_image: Optional[dict] = None,
                 trial_size: Optional[Union[int, Sequence[int]]] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        without_waiting(self.data_preprocessor)
        mix_apart(self.data_preprocessor)
        self.raw_image = build_raw_image(raw_image, channel_order)
        self.trial_size = trial_size
        self.channels_last = channels_last
        self.compile_options = compile_options(compile, 'compile')
        self.timesteps = None
        self.unlogged = None
        self.finite = FiniteCheck()

    def build_distillation(self, student: nn.Module, teacher: dict,
                           time_sampler: dict, connections: Sequence[dict],
                           reward: Optional[dict],
                           regressor: Optional[dict],
                           call: Optional[Callable] = None,
                           student_config: Any = None) -> None:
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
            student_config (dict, optional): What the student was built from.
                Defaults to None.

        Raises:
            ValueError: If they do not fit.
        """
        check_pairs(connections)
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
            regressor, call, student_config)
        self.connections = nn.ModuleList(
            build_part(
                f'connections[{index}]', connection,
                type='repfusion_mm.Connection',
                student_shape=shapes[connection['student_tap']],
                teacher_shape=teacher_shapes[connection['teacher_tap']])
            for index, connection in enumerate(connections))
        self.time_sampler = build_part('time_sampler', time_sampler)
        check_time_sampler(self.time_sampler, self.teacher, self.connections)
        self.reward = None if reward is None else build_part(
            'reward', reward, feature_shapes=teacher_shapes,
            student_shapes=shapes,
            num_timesteps=self.teacher.num_timesteps)
        check_reward(self.reward, self.teacher, self.time_sampler,
                     self.data_preprocessor)
        if self.teacher.looks_once:
            check_bank(self.teacher, self.time_sampler, self.reward,
                       self.data_preprocessor)

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
        if has_cuda_graphs(self.compile_options):
            self.register_forward_pre_hook(begin_step)

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
        images = self.raw_image(inputs, self.data_preprocessor)
        self.check_channels(inputs)
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
            the log. ``finite`` has looked at the features, and has yet to be
            shown the losses of the whole step.
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
            reward, mask, reward_losses = self.reward(RewardInputs(
                images, sample.timesteps, ranges[0], student, data_samples,
                loss_feature, look=lambda others: self.teacher(
                    others, sample.timesteps, told)))
            losses.update(reward_losses)
            losses.update(
                loss_of_draws(self, view, student, data_samples, reward, mask,
                              losses)
                if getattr(self.time_sampler, 'num_draws', 1) > 1 else
                self.time_sampler.loss(sample, reward, mask))
            losses['mean_reward'] = (reward * mask).sum() / \
                mask.sum().clamp(min=1)
        self.finite.note(
            [(f'the {whose} {tap!r}', feature)
             for whose, features in [('student\'s', student),
                                     *(('teacher\'s', one) for one in ranges)]
             for tap, feature in features.items()])
        return losses

    def check_channels(self, inputs: Any, preprocessed: bool = True) -> None:
        """Whether a batch has images of as many channels as the student takes.

        Args:
            inputs (Tensor or list[Tensor], optional): The images, (N, C, H,
                W) or each (C, H, W); what is neither is not looked at.
            preprocessed (bool): If they are not yet, grey ones may still
                become coloured. Defaults to True.

        Raises:
            ValueError: If it has not.
        """
        image = inputs[0] if isinstance(inputs, (Tensor, list)) else None
        if not isinstance(image, Tensor) or image.dim() != 3:
            return
        channels = image.size(0)
        if channels != self.in_channels and (preprocessed or channels != 1):
            raise ValueError(
                f'the images have {channels} channels and the student takes '
                f'{self.in_channels}: set `in_channels` in the backbone to '
                'what the pipeline gives, or let `LoadImageFromFile('
                'color_type=...)` load as many')

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
        augments = getattr(self.data_preprocessor, 'batch_augments', None)
        if isinstance(augments, MixApart):
            augments.note(data_samples)

    def _find_student(self, student: nn.Module, paths: Sequence[str],
                      regressor: Optional[dict],
                      call: Optional[Callable],
                      student_config: Any) -> Dict[str, tuple]:
        """Settle the student's taps by a trial image; returns their shapes."""
        own = [path for path in paths if not path.startswith('regressor.')]
        trial = try_student(
            student, own, call, self.data_preprocessor,
            trial_sizes(self.trial_size, student, student_config,
                        self.data_preprocessor, self.teacher.image_size))
        self.raw_image.check_channels(trial.channels)
        self.taps, self.in_channels = trial.taps, trial.channels
        shapes = dict(self.taps.shapes)
        self.regressor = None
        if regressor is not None:
            shapes.update(self._build_regressor(regressor, trial.output))
        for path in paths:
            if path not in shapes:
                raise ValueError(
                    f'`connections.student_tap` names {path!r}, but '
                    + ('there is no `regressor`' if regressor is None else
                       f'`regressor` gives {nearest(path, shapes)}'))
        return shapes

    def _build_regressor(self, regressor: dict,
                         output: Any) -> Dict[str, tuple]:
        """Build it for what the student gives; returns its taps' shapes."""
        given = _as_tuple(output)
        if not all(isinstance(feature, Tensor) for feature in given):
            raise ValueError(
                '`regressor` takes tensors, but the student gives '
                f'{[type(feature).__name__ for feature in given]}; tap its '
                'modules without a regressor')
        self.regressor = build_part(
            'regressor', regressor,
            in_channels=[feature.size(1) for feature in given]).eval()
        try:
            with torch.no_grad():
                features = self._regress(output)
        except Exception as error:  # in the words of whatever it is
            raise ValueError(
                f'`regressor` {type(self.regressor).__name__} does not take '
                'what the student gives, of shapes '
                f'{[tuple(feature.shape) for feature in given]}: {error}'
            ) from error
        self.regressor.train()
        return {tap: tuple(feature.shape[1:])
                for tap, feature in features.items()}

    def _regress(self, output: Any) -> Dict[str, Tensor]:
        """The regressor's features, by tap."""
        if self.regressor is None:
            return {}
        return {f'regressor.{index}': feature for index, feature
                in enumerate(_as_tuple(self.regressor(_as_tuple(output))))}


def _is_trained(student: nn.Module, tap: str) -> bool:
    """Whether the tapped module, or the first around it that could, learns."""
    while True:
        parameters = [] if tap.startswith('out.') else list(
            student.get_submodule(tap).parameters())
        if parameters or not tap:
            return any(p.requires_grad for p in parameters)
        tap = tap.rpartition('.')[0]


def _as_tuple(output: Any) -> tuple:
    return tuple(output) if isinstance(output, (tuple, list)) else (output, )
