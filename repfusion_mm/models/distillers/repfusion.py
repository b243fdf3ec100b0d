"""Stage 1 of RepFusion: a diffusion model distilled into a backbone."""
import math
from typing import Dict, List, Optional, Sequence, Union

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..building import build_part, preprocessor_config
from ..raw_images import CHANNEL_ORDERS, raw_images
from ..taps import Taps


@MODELS.register_module()
class RepFusion(BaseModel):
    """Distils a frozen diffusion model into a student backbone.

    Each step: the time sampler draws a t for each image, the teacher turns
    image and t into features z(t), the connections pull the student's
    features towards them, and the reward says what each t was worth, from
    which the sampler learns.

    Its checkpoint holds the student as ``backbone.*`` and the small heads,
    and nothing of the teacher, so that in any OpenMMLab repository
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``
    starts a backbone from it.

    Args:
        backbone (dict): The student: any backbone of any OpenMMLab library.
        teacher (dict): The teacher.
        time_sampler (dict): Where t comes from.
        connections (Sequence[dict]): Student tap, teacher tap and loss of
            each pair; see :class:`Connection`. Module paths of the student
            are rooted at the backbone.
        reward (dict, optional): What a t was worth. Needed by samplers that
            learn. Defaults to None.
        data_preprocessor (dict, optional): As the library of the student has
            it; of the type MMEngine's ``ImgDataPreprocessor`` if it names
            none. Defaults to None: the images come as they are, 0 to 255.
        channel_order (str): Order of the channels that the student sees,
            ``'rgb'`` or ``'bgr'``, for the teacher's sake. Defaults to
            ``'rgb'``.
        init_cfg (dict, optional): Initialisation. Defaults to None.

    Raises:
        ValueError: If a tap does not exist, the sampler may draw a t that the
            teacher does not know, a sampler that learns has no reward, or a
            reward meets batch augmentations that mix labels.

    Source: Yang and Wang, "Diffusion Model as Representation Learner", ICCV
    2023.

    Example:
        >>> model = dict(
        ...     type='repfusion_mm.RepFusion',
        ...     data_preprocessor=dict(
        ...         type='mmpretrain.ClsDataPreprocessor',
        ...         mean=[125.307, 122.961, 113.8575],
        ...         std=[51.5865, 50.847, 51.255]),
        ...     backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18),
        ...     teacher=dict(
        ...         type='repfusion_mm.UNetTeacher',
        ...         config=dict(
        ...             sample_size=32, block_out_channels=(32, 64),
        ...             down_block_types=('DownBlock2D', 'DownBlock2D'),
        ...             up_block_types=('UpBlock2D', 'UpBlock2D'))),
        ...     time_sampler=dict(type='repfusion_mm.ReinforcedTime'),
        ...     reward=dict(type='repfusion_mm.ClassificationReward',
        ...                 num_classes=10),
        ...     connections=[
        ...         dict(student_tap='out.-1',
        ...              teacher_tap='mid_block.resnets.1.conv2',
        ...              loss=dict(type='repfusion_mm.HintLoss', pool=True))
        ...     ])
    """

    def __init__(self,
                 backbone: dict,
                 teacher: dict,
                 time_sampler: dict,
                 connections: Sequence[dict],
                 reward: Optional[dict] = None,
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None,
                 channel_order: str = 'rgb',
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(preprocessor_config(data_preprocessor), init_cfg)
        if channel_order not in CHANNEL_ORDERS:
            raise ValueError(f'`channel_order` is {channel_order!r}, expected '
                             f'one of {CHANNEL_ORDERS}')
        if not connections:
            raise ValueError('`connections` is empty: the student would learn '
                             'nothing')
        self.channel_order = channel_order
        # one seed starts one student, whatever teaches it
        self._student_rng = torch.get_rng_state()
        self.backbone = build_part('backbone', backbone)

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
        self._taps = self._student_taps(
            [connection['student_tap'] for connection in connections])
        self.connections = nn.ModuleList(
            build_part(
                f'connections[{index}]', connection,
                type='repfusion_mm.Connection',
                student_shape=self._taps.shapes[connection['student_tap']],
                teacher_shape=teacher_shapes[connection['teacher_tap']])
            for index, connection in enumerate(connections))

        self.time_sampler = build_part('time_sampler', time_sampler)
        if self.time_sampler.max_timestep >= self.teacher.num_timesteps:
            raise ValueError(
                '`time_sampler` may draw t = '
                f'{self.time_sampler.max_timestep}, but the teacher knows 0 '
                f'to {self.teacher.num_timesteps - 1}')
        if reward is not None and getattr(self.data_preprocessor,
                                          'batch_augments', None):
            raise ValueError(
                '`data_preprocessor.batch_augments` mixes labels, which '
                '`reward` cannot read; leave out one of the two')
        self.reward = None if reward is None else build_part(
            'reward', reward, feature_shapes=teacher_shapes)
        if self.reward is None and any(
                p.requires_grad for p in self.time_sampler.parameters()):
            raise ValueError(f'{type(self.time_sampler).__name__} learns from '
                             'a reward: set `reward`, for example to '
                             'repfusion_mm.ClassificationReward')
        self.timesteps = None  # the last ones drawn, for hooks to look at

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[List] = None,
                mode: str = 'tensor'):
        """The losses of a batch, or the student's outputs.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_samples (list, optional): Their labels, for the reward.
            mode (str): ``'loss'`` or ``'tensor'``.

        Returns:
            dict[str, Tensor] or tuple: Losses, or the backbone's outputs.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'tensor':
            return self.backbone(inputs)
        raise ValueError(f'mode {mode!r}: stage 1 trains a backbone, which '
                         'predicts nothing; use it in a task of stage 2')

    def loss(self, inputs: Tensor, data_samples: List) -> Dict[str, Tensor]:
        """One step of distillation.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_samples (list): Their labels, -1 where there is none.

        Returns:
            dict[str, Tensor]: Losses, and ``mean_t`` and ``mean_reward`` for
            the log.
        """
        images = raw_images(inputs, self.data_preprocessor,
                            self.channel_order)
        _, student = self._taps.forward(self.backbone, inputs)
        sample = self.time_sampler(images)
        self.timesteps = sample.timesteps
        teacher = self.teacher(images, sample.timesteps)

        losses = {
            f'loss_feature{index or ""}': connection(
                student[connection.student_tap],
                teacher[connection.teacher_tap])
            for index, connection in enumerate(self.connections)
        }
        losses['mean_t'] = sample.timesteps.float().mean()
        if self.reward is not None:
            reward, mask, reward_losses = self.reward(
                images, teacher, data_samples, student)
            losses.update(reward_losses)
            losses.update(self.time_sampler.loss(sample, reward, mask))
            losses['mean_reward'] = (reward * mask).sum() / \
                mask.sum().clamp(min=1)
        return losses

    def init_weights(self) -> None:
        """Initialise the student and read the teacher's weights."""
        if hasattr(self.backbone, 'init_weights'):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(self._student_rng)
                self.backbone.init_weights()
        super().init_weights()

    def _student_taps(self, paths: Sequence[str]) -> Taps:
        """Find the student's features by a trial image.

        Its sides are multiples of 64, which any downsampling can take.
        """
        device = next(self.backbone.parameters()).device
        side = math.ceil(max(self.teacher.image_size) / 64) * 64
        image = torch.zeros(1, self._in_channels(), side, side, device=device)
        training = self.backbone.training
        self.backbone.eval()
        taps = Taps(self.backbone, paths, image, key='connections.student_tap')
        self.backbone.train(training)
        return taps

    def _in_channels(self) -> int:
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                return module.in_channels
        return 3
