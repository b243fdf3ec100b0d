"""Stage 1 and 2 of RepFusion in one run, inside any task's own training."""
from typing import Any, Dict, List, Optional, Sequence, Union

from mmengine.logging import print_log
from torch import Tensor, nn

from repfusion_mm.arguments.annotations import Size, Weight
from repfusion_mm.registry import MODELS

from ..labels import note_labelled
from ..utils.building import build_part
from .distiller import Distiller
from .gradient_balance import balanced_taps, check_balance
from .loaded_weights import PARTS, refuse_foreign, take_as_task
from .student import prepare_student
from .task_heads import ignore_index_of, mask_classes_of
from .task_losses import check_task_labels, task_losses


@MODELS.register_module()
class JointRepFusion(Distiller):
    """A model of mmpretrain, mmseg, mmpose or mmdet, distilled in training.

    Its losses are the task's own and the distillation's. Samples without a
    label are distilled, and kept away from the task's losses: label -1 in
    mmpretrain, a mask of nothing but ``decode_head.ignore_index`` in mmseg,
    keypoint weights that are all zero in mmpose, ``unlabelled=True`` in the
    meta information in mmdet. The losses are then what
    they would be of the labelled images alone; batch norms, the heads' too,
    see all of them. Mixup and the like mix labelled images with each other.
    To predict it is the task model, and needs no teacher. Where stock code
    asks the model for something that it does not have itself (``backbone``,
    ``decode_head``, ``out_channels``), the task model answers.

    In the log ``loss`` is the sum of all, as everywhere. A value of the
    task's whose name is taken gets ``_task`` behind it: the ``loss`` of
    mmpretrain's heads is ``loss_task``.

    A checkpoint of the task's model alone, or of stage 1, can be loaded too
    (``load_from``).

    Args:
        task (dict): Config of the task's model, given whole.
        teacher (dict): The teacher. If its files are not there the model can
            still be tested, and an error comes up when it is trained.
        time_sampler (dict): Where t comes from.
        connections (Sequence[dict]): Student tap, teacher tap and loss of
            each pair; see :class:`Connection`. Module paths of the student
            are rooted at the task model, and lie in its backbone or neck.
        reward (dict, optional): What a t was worth. Needed by samplers that
            learn. Defaults to None.
        regressor (dict, optional): As in :class:`RepFusion`, of what the
            task's ``extract_feat`` returns. Defaults to None.
        distill_weight (float): Factor of the feature losses beside the task's
            losses. :class:`TimeSamplerHook` can change it over training.
            Defaults to 1.
        balance (bool): Whether ``distill_weight`` counts in gradients and not
            in losses: at each student tap the distillation then pulls that
            many times as hard as the task, whatever the scales of their
            losses (:func:`balance`). Taps are then modules. Defaults to
            False.
        data_preprocessor (dict, optional): For the task, if its config has
            none. The Runner passes the top-level one here. Defaults to None.
        channel_order (str): Order of the channels that the student sees,
            ``'rgb'`` or ``'bgr'``, for the teacher's sake. Defaults to
            ``'rgb'``.
        raw_image (dict, optional): As in :class:`RepFusion`. Defaults to
            None.
        trial_size (int or Sequence[int], optional): Likewise. Defaults to
            None.
        channels_last (bool): As in :class:`RepFusion`, of the task's
            backbone. Defaults to False.
        compile (bool or dict): As in :class:`RepFusion`, of the task's
            backbone. Defaults to False.
        init_cfg (dict, optional): Initialisation. Defaults to None.

    Raises:
        ValueError: As :class:`RepFusion`, or if the task model has no
            ``extract_feat``, or its head and the reward ignore different
            pixels.

    Source: Yang and Wang, "Diffusion Model as Representation Learner", ICCV
    2023.

    Example:
        >>> model = dict(
        ...     type='repfusion_mm.JointRepFusion',
        ...     task=dict(
        ...         type='mmpretrain.ImageClassifier',
        ...         backbone=dict(type='ResNet_CIFAR', depth=18),
        ...         neck=dict(type='GlobalAveragePooling'),
        ...         head=dict(type='LinearClsHead', num_classes=10,
        ...                   in_channels=512)),
        ...     teacher=dict(
        ...         type='repfusion_mm.UNetTeacher',
        ...         config=dict(
        ...             sample_size=32, block_out_channels=(32, 64),
        ...             down_block_types=('DownBlock2D', 'DownBlock2D'),
        ...             up_block_types=('UpBlock2D', 'UpBlock2D'))),
        ...     time_sampler=dict(type='repfusion_mm.UniformTime'),
        ...     connections=[
        ...         dict(student_tap='backbone.layer4',
        ...              teacher_tap='mid_block.resnets.1.conv2',
        ...              loss=dict(type='repfusion_mm.HintLoss', pool=True))
        ...     ])
    """
    def __init__(self,
                 task: Any,  # its config, and then what is built of it
                 teacher: dict,
                 time_sampler: dict,
                 connections: Sequence[dict],
                 reward: Optional[dict] = None,
                 regressor: Optional[dict] = None,
                 distill_weight: Weight = 1.,
                 balance: bool = False,
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None,
                 channel_order: str = 'rgb',
                 raw_image: Optional[dict] = None,
                 trial_size: Optional[Size] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 init_cfg: Optional[dict] = None) -> None:
        config = task
        task = build_part('task', task, data_preprocessor=data_preprocessor)
        if not hasattr(task, 'extract_feat'):
            raise ValueError(f'`task` is a {type(task).__name__}, which has '
                             'no `extract_feat`; expected a model with a '
                             'backbone, such as mmpretrain.ImageClassifier, '
                             'mmseg.EncoderDecoder or '
                             'mmpose.TopdownPoseEstimator')
        super().__init__(task.data_preprocessor, channel_order, raw_image,
                         trial_size, channels_last, compile, init_cfg)
        if not isinstance(distill_weight, (int, float)) or distill_weight < 0:
            raise ValueError(f'`distill_weight` is {distill_weight!r}, '
                             'expected a number of at least 0')
        self.task = task
        self.distill_weight = distill_weight
        self.balance = balance
        self._ignore_index = ignore_index_of(task)
        self._no_teacher: Optional[Exception] = None
        try:
            self.build_distillation(task, teacher, time_sampler, connections,
                                    reward, regressor, task.extract_feat,
                                    config)
            self._check_ignore_index()
            if balance:
                check_balance(self.taps.paths, regressor)
            prepare_student(self, task.backbone, 'backbone.')
        except FileNotFoundError as error:
            self._no_teacher = error
            print_log(f'There is no teacher, so this model can be tested and '
                      f'not trained: {error}', 'current')

    def forward(self,
                inputs: Tensor,
                data_samples: Any = None,
                mode: str = 'tensor') -> Any:
        """The losses of a batch, or what the task model makes of it.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_samples (list, optional): Their labels.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            dict[str, Tensor] or Any: Losses, or the task model's output.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.task(inputs, data_samples, mode=mode)

    def loss(self, inputs: Tensor, data_samples: List) -> Dict[str, Tensor]:
        """The task's losses and the distillation's.

        Args:
            inputs (Tensor): Preprocessed images, (N, C, H, W).
            data_samples (list): Their labels, where there are any.

        Returns:
            dict[str, Tensor]: Losses, and what is only logged.

        Raises:
            FloatingPointError: If a loss is not finite; it, or the tap that is
                to blame, is named.
            ValueError: If a mask on a CPU holds what is no class, or a
                student tap lies where no gradient comes out.
        """
        if self._no_teacher is not None:
            raise self._no_teacher
        # the same as in stage 1
        view = self.teachers_view(inputs, data_samples)
        paths = self.taps.paths if self.balance else ()
        with balanced_taps(self.task, paths, self.distill_weight) as balanced:
            features, student = self.student_features(
                self.task, inputs, self.task.extract_feat)
        student.update(balanced)
        losses = self.feature_losses(view, student)
        policy = self.policy_losses(view, student, data_samples, losses)
        del view, student  # memory that the task can have
        for name in losses:
            if name.startswith('loss_feature') and not self.balance:
                losses[name] = losses[name] * self.distill_weight
        losses.update(policy)
        # and the task
        task = task_losses(self.task, inputs, features, data_samples)
        taken = {'loss', *losses}  # MMEngine logs the sum as `loss`
        losses.update((f'{name}_task' if name in taken else name, loss)
                      for name, loss in task.items())
        self.finite.check(losses)
        return losses

    def init_weights(self) -> None:
        """Initialise the task model and read the teacher's weights.

        Raises:
            FileNotFoundError: If there is no teacher.
        """
        if self._no_teacher is not None:
            raise self._no_teacher
        super().init_weights()

    def get_layer_depth(self, param_name: str) -> tuple:
        """Depth of a parameter, for mmpretrain's layer-wise learning rates.

        Args:
            param_name (str): As in ``named_parameters``.

        Returns:
            tuple[int, int]: The depth, and the number of layers. What is not
            of the task counts as its last layer.
        """
        name = param_name[len('task.'):] if param_name.startswith('task.') \
            else 'head'
        return self.task.get_layer_depth(name)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            task = self.__dict__.get('_modules', {}).get('task')
            if task is None:
                raise
            return getattr(task, name)

    def check_samples(self, data_samples: Sequence) -> None:
        """As :meth:`Distiller.check_samples`, also for a segmentor's head.

        It also notes on each sample whether it is labelled, so that the step
        need not read it from a GPU.

        Args:
            data_samples (Sequence): Of a batch.

        Raises:
            ValueError: If a mask holds what is no class. The file and the
                ids are named.
        """
        super().check_samples(data_samples)
        check_task_labels(self.task, data_samples)
        note_labelled(data_samples, self._ignore_index)

    def _check_ignore_index(self) -> None:
        """What the task ignores, a reward would take for a class."""
        index = getattr(self.reward, 'ignore_index', None)
        if index is not None and mask_classes_of(self.task) is not None and \
                index != self._ignore_index:
            raise ValueError(
                f'`reward.ignore_index` is {index}, but `task.decode_head.'
                f'ignore_index` is {self._ignore_index}: both say what the '
                'same masks hold where a pixel is unlabelled; make them alike')

    def _load_from_state_dict(self, state_dict: dict, prefix: str,
                              *args: Any) -> None:
        if not prefix:
            take_as_task(state_dict, self.task)
            refuse_foreign(state_dict, self, 'task')
        if self._no_teacher is not None:  # these parts have not been built
            for key in list(state_dict):
                if key[len(prefix):].split('.')[0] in PARTS:
                    del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args)

