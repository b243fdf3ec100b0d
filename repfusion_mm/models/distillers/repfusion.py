"""Stage 1 of RepFusion: a diffusion model distilled into a backbone."""
from typing import Any, Dict, List, Optional, Sequence, Union

import torch
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Size
from repfusion_mm.registry import MODELS

from ..utils.building import build_part, preprocessor_config
from .distiller import Distiller
from .loaded_weights import refuse_foreign
from .student import prepare_student


@MODELS.register_module()
class RepFusion(Distiller):
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
        regressor (dict, optional): What makes features of the backbone's
            outputs, if these are not to be tapped as they are: a
            :class:`TopDownRegressor`, or any neck such as mmpretrain's
            ``HRFuseScales``. Its i-th output is the student tap
            ``'regressor.<i>'``. It is thrown away with the teacher. Defaults
            to None.
        data_preprocessor (dict, optional): As the library of the student has
            it; of the type MMEngine's ``ImgDataPreprocessor`` if it names
            none. Defaults to None: the images come as they are, 0 to 255.
        channel_order (str): Order of the channels that the student sees,
            ``'rgb'`` or ``'bgr'``, for the teacher's sake. Defaults to
            ``'rgb'``.
        raw_image (dict, optional): What the pipeline gives, where it is not
            pixels of 0 to 255 in one or three channels: ``range``, ``mean``,
            ``std``, ``channels`` of :class:`RawImage`. Defaults to None.
        trial_size (int or Sequence[int], optional): Height and width of an
            image that the student takes, by which its taps are settled.
            Defaults to None: the student's ``img_size``, else the ``size``
            that the data preprocessor pads to, else the teacher's.
        channels_last (bool): Whether the student computes in that memory
            format, which a GPU's tensor cores like. Defaults to False.
        compile (bool or dict): Whether the student is compiled, in the
            largest pieces that no tap lies inside of; a dict holds
            ``torch.compile``'s arguments. Defaults to False.
        init_cfg (dict, optional): Initialisation. Defaults to None.

    Raises:
        ValueError: If a tap does not exist, two connections name the same
            pair, the sampler may draw a t that the teacher does not know, a
            sampler that learns has no reward, a reward meets batch
            augmentations that mix labels, or reads labels from a teacher that
            was given them.

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
    predicts = False
    backbone: Any

    def __init__(self,
                 backbone: dict,
                 teacher: dict,
                 time_sampler: dict,
                 connections: Sequence[dict],
                 reward: Optional[dict] = None,
                 regressor: Optional[dict] = None,
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None,
                 channel_order: str = 'rgb',
                 raw_image: Optional[dict] = None,
                 trial_size: Optional[Size] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(build_part('data_preprocessor',
                                    preprocessor_config(data_preprocessor)),
                         channel_order, raw_image, trial_size, channels_last,
                         compile, init_cfg)
        # one seed starts one student, whatever teaches it
        self._student_rng = torch.get_rng_state()
        self.backbone = build_part('backbone', backbone)
        self.build_distillation(self.backbone, teacher, time_sampler,
                                connections, reward, regressor,
                                student_config=backbone)
        prepare_student(self, self.backbone)

    def forward(self,
                inputs: Tensor,
                data_samples: Any = None,
                mode: str = 'tensor') -> Any:
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
                         'predicts nothing: set `val_dataloader`, `val_cfg` '
                         'and `val_evaluator` to None, and use the backbone '
                         'in a task of stage 2')

    def loss(self, inputs: Tensor, data_samples: List) -> Dict[str, Tensor]:
        """One step of distillation.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_samples (list): Their labels, -1 where there is none.

        Returns:
            dict[str, Tensor]: Losses, and ``mean_t`` and ``mean_reward`` for
            the log.

        Raises:
            FloatingPointError: If a loss is not finite; the tap that is to
                blame is named.
            ValueError: If a student tap lies where no gradient comes out.
        """
        # the policy draws a time step for each image, at which the frozen
        # diffusion model looks at it: z(t)
        view = self.teachers_view(inputs, data_samples)
        # the student follows
        _, student = self.student_features(self.backbone, inputs)
        losses = self.feature_losses(view, student)
        # what that time step was worth, the policy learns by reward
        losses.update(
            self.policy_losses(view, student, data_samples, losses))
        self.finite.check(losses)
        return losses

    def init_weights(self) -> None:
        """Initialise the student and read the teacher's weights."""
        if hasattr(self.backbone, 'init_weights'):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(self._student_rng)
                self.backbone.init_weights()
        super().init_weights()

    def _load_from_state_dict(self, state_dict: dict, prefix: str,
                              *args: Any) -> None:
        if not prefix:
            refuse_foreign(state_dict, self, 'backbone')
        super()._load_from_state_dict(state_dict, prefix, *args)
