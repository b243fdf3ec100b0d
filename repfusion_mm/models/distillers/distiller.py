"""What distilling a diffusion model takes, whatever the student is part of."""
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..rewards.base import RewardInputs
from ..utils.building import build_part
from ..utils.compiling import compile_options
from ..utils.finite_check import FiniteCheck
from ..utils.raw_images import build_raw_image
from ..utils.without_waiting import without_waiting
from .mix_apart import MixApart, mix_apart
from .more_draws import loss_of_draws
from .part_checks import (
    check_bank,
    check_channels,
    check_pairs,
    check_reward,
    check_time_sampler,
)
from .student import check_gradients, regress, settle_student
from .teachers_view import Judged, TeachersView
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
        judged (Judged): What the last ones were worth, likewise.
        unlogged (list): Where :class:`DeferLogHook` makes it one, the names
            and values of the losses that were not logged yet.
        finite (FiniteCheck): Stops the training at NaN.
    """
    # parts, of classes that only their configs know
    teacher: Any
    time_sampler: Any
    connections: Any
    reward: Any
    regressor: Any

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
        self.judged: Optional[Judged] = None
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
        # one that is no name the reward refuses itself
        if reward is not None and isinstance(reward.get('tap'), str):
            taps.append(reward['tap'])
        self.teacher = build_part('teacher', teacher,
                                  taps=list(dict.fromkeys(taps)))
        teacher_shapes = self.teacher.feature_shapes
        for tap in taps:
            if tap not in teacher_shapes:
                raise ValueError(f'`teacher.taps` is {list(teacher_shapes)} '
                                 f'but a connection or the reward needs '
                                 f'{tap!r}')
        paths = [connection['student_tap'] for connection in connections]
        trial = try_student(
            student, [path for path in paths
                      if not path.startswith('regressor.')],
            call, self.data_preprocessor,
            trial_sizes(self.trial_size, student, student_config,
                        self.data_preprocessor, self.teacher.image_size))
        self.raw_image.check_channels(trial.channels)
        self.in_channels = trial.channels
        self.taps, self.regressor, shapes = settle_student(
            trial, regressor, paths)
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
        check_gradients(student, features)
        return output, {**features, **regress(self.regressor, output)}

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
            TeachersView: For :meth:`feature_losses`.
        """
        images = self.raw_image(inputs, self.data_preprocessor)
        check_channels(inputs, self.in_channels)
        sample = self.time_sampler(images)
        self.timesteps = sample.timesteps
        told = self.teacher.read_samples(data_samples)
        return TeachersView(images, sample, told, [
            self.teacher(images, timesteps, told)
            for timesteps in sample.timesteps.view(-1, len(images))])

    def feature_losses(self, view: TeachersView,
                       student: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """How far the student's features are from z(t).

        Args:
            view (TeachersView): What the teacher made of the batch.
            student (dict[str, Tensor]): The student's features, by tap.

        Returns:
            dict[str, Tensor]: ``loss_feature`` of each connection, and
            ``mean_t`` for the log. ``finite`` has looked at the features, and
            has yet to be shown the losses of the whole step.
        """
        losses: Dict[str, Tensor] = {}
        for index, connection in enumerate(self.connections):
            teacher = view.ranges[index if len(view.ranges) > 1 else 0]
            losses[f'loss_feature{index or ""}'] = connection(
                student[connection.student_tap],
                teacher[connection.teacher_tap])
        losses['mean_t'] = view.sample.timesteps.float().mean()
        self.finite.note(
            [(f'the {whose} {tap!r}', feature)
             for whose, features in [('student\'s', student), *(
                 ('teacher\'s', one) for one in view.ranges)]
             for tap, feature in features.items()])
        return losses

    def policy_losses(self, view: TeachersView, student: Dict[str, Tensor],
                      data_samples: List, feature_losses: Dict[str, Tensor]
                      ) -> Dict[str, Tensor]:
        """What the time steps were worth, and what the policy learns of it.

        Args:
            view (TeachersView): What the teacher made of the batch.
            student (dict[str, Tensor]): The student's features, by tap.
            data_samples (list): Their labels, where there are any.
            feature_losses (dict[str, Tensor]): Of :meth:`feature_losses`.

        Returns:
            dict[str, Tensor]: Losses, and ``mean_reward`` for the log; empty
            without a reward.
        """
        if self.reward is None:
            return {}
        images, sample, told, ranges = view
        loss_feature: Any = sum(
            loss for name, loss in feature_losses.items()
            if name.startswith('loss_feature'))
        reward, mask, losses = self.reward(RewardInputs(
            images, sample.timesteps, ranges[0], student, data_samples,
            loss_feature, look=lambda others: self.teacher(
                others, sample.timesteps, told)))
        self.judged = Judged(sample.log_probs, reward.detach(), mask)
        self.finite.note([('the policy', sample.log_prob)])
        self.finite.note([('the reward', reward.masked_fill(~mask, 0.))],
                         required=True)
        losses.update(
            loss_of_draws(self, view, student, data_samples, reward, mask,
                          losses)
            if getattr(self.time_sampler, 'num_draws', 1) > 1 else
            self.time_sampler.loss(sample, reward, mask))
        losses['mean_reward'] = (reward * mask).sum() / \
            mask.sum().clamp(min=1)
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
        augments = getattr(self.data_preprocessor, 'batch_augments', None)
        if isinstance(augments, MixApart):
            augments.note(data_samples)
