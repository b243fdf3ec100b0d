"""Stage 1 and 2 of RepFusion in one run, inside any task's own training."""
import copy
from typing import Any, Dict, List, Optional, Sequence, Union

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import Tensor, nn

from repfusion_mm.registry import MODELS

from ..all_processes import sum_of_all
from ..building import build_part
from ..labels import UNLABELLED_PIXEL, check_masks, labelled_mask
from .distiller import Distiller

# what this model adds to its task; in a checkpoint, beside `task.*`
PARTS = ('teacher', 'time_sampler', 'connections', 'reward', 'regressor')


@MODELS.register_module()
class JointRepFusion(Distiller):
    """A model of mmpretrain, mmseg or mmpose, distilled while it is trained.

    Its losses are the task's own and the distillation's. Samples without a
    label are distilled, and kept away from the task's losses: label -1 in
    mmpretrain, a mask of nothing but 255 in mmseg, keypoint weights that are
    all zero in mmpose. To predict it is the task model, and needs no teacher.
    Where stock code asks the model for something that it does not have itself
    (``backbone``, ``decode_head``, ``out_channels``), the task model answers.

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
            ``extract_feat``.

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
                 task: dict,
                 teacher: dict,
                 time_sampler: dict,
                 connections: Sequence[dict],
                 reward: Optional[dict] = None,
                 regressor: Optional[dict] = None,
                 distill_weight: float = 1.,
                 data_preprocessor: Optional[Union[dict, nn.Module]] = None,
                 channel_order: str = 'rgb',
                 raw_image: Optional[dict] = None,
                 trial_size: Optional[Union[int, Sequence[int]]] = None,
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
        self._no_teacher: Optional[Exception] = None
        try:
            self.build_distillation(task, teacher, time_sampler, connections,
                                    reward, regressor, task.extract_feat,
                                    config)
            self.prepare_student(task.backbone, 'backbone.')
        except FileNotFoundError as error:
            self._no_teacher = error
            print_log(f'There is no teacher, so this model can be tested and '
                      f'not trained: {error}', 'current')

    def forward(self,
                inputs: Tensor,
                data_samples: Optional[List] = None,
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
            ValueError: If a mask on a CPU holds what is no class, or a
                student tap lies where no gradient comes out.
        """
        if self._no_teacher is not None:
            raise self._no_teacher
        view = self.teachers_view(inputs, data_samples)
        features, student = self.student_features(
            self.task, inputs, self.task.extract_feat)
        losses = self.distillation_loss(view, student, data_samples)
        del view, student  # memory that the task can have
        for name in losses:
            if name.startswith('loss_feature'):
                losses[name] = losses[name] * self.distill_weight
        losses.update(self._task_loss(inputs, features, data_samples))
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
        self._check_masks(data_samples)
        # mixed samples are only known behind the preprocessor
        if data_samples and not getattr(self.data_preprocessor,
                                        'batch_augments', None):
            for sample, labelled in zip(data_samples,
                                        labelled_mask(data_samples).tolist()):
                sample.set_metainfo(dict(labelled=labelled))

    def _check_masks(self, data_samples: Sequence) -> None:
        head = getattr(self.task, 'decode_head', None)
        if isinstance(head, nn.ModuleList):  # of a cascade
            head = head[-1]
        if hasattr(head, 'num_classes'):
            check_masks(data_samples, head.num_classes,
                        getattr(head, 'ignore_index', UNLABELLED_PIXEL),
                        key='task.decode_head')

    def _task_loss(self, inputs: Tensor, features: Any,
                   data_samples: List) -> Dict[str, Tensor]:
        """The task's own losses, on its labelled samples.

        The features of the whole batch have been computed already; the task
        is handed its rows of them when it asks for its features.
        """
        labelled = [sample.get('labelled') for sample in data_samples]
        if None in labelled:  # `check_samples` was not asked
            labelled = labelled_mask(data_samples).tolist()
        # a labelled image counts alike on whichever process it is: 1 on one
        count = torch.tensor(sum(labelled)).to(inputs.device,
                                               non_blocking=True)
        weight = count * get_world_size() / sum_of_all(count)[0].clamp(min=1)
        # with no label at all the losses are computed, and count nothing: on
        # several GPUs all have the same collective calls and gradients
        if not any(labelled):
            labelled = [True] * len(labelled)
            data_samples = [_any_label(sample) for sample in data_samples]
        if not all(labelled):
            rows = [row for row, one in enumerate(labelled) if one]
            data_samples = [data_samples[row] for row in rows]
            # a list would be copied to a GPU that has to be waited for
            rows = torch.tensor(rows).to(inputs.device, non_blocking=True)
            inputs, features = inputs[rows], _rows(features, rows)
        asked = []

        def extract_feat(inputs: Tensor) -> Any:
            asked.append(True)
            return features

        self.task.extract_feat = extract_feat
        try:
            losses = self.task.loss(inputs, data_samples)
        except (IndexError, RuntimeError):
            # of a wrong class id PyTorch says that it is out of bounds
            self._check_masks(data_samples)
            raise
        finally:
            del self.task.extract_feat
        if not asked:
            raise RuntimeError(
                f'`task`: the loss of {type(self.task).__name__} does not ask '
                'its `extract_feat` for features, so that it cannot be '
                'distilled jointly; use RepFusion on its backbone instead')
        return {name: _weighted(loss, weight) if 'loss' in name else loss
                for name, loss in losses.items()}

    def _load_from_state_dict(self, state_dict: dict, prefix: str,
                              *args: Any) -> None:
        if self._no_teacher is not None:  # these parts have not been built
            for key in list(state_dict):
                if key[len(prefix):].split('.')[0] in PARTS:
                    del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args)


def _any_label(sample: Any) -> Any:
    """An unlabelled sample as a loss can take it; masks and points can be."""
    if 'gt_label' not in sample:
        return sample
    sample = copy.copy(sample)
    sample.gt_label = torch.zeros_like(sample.gt_label)
    return sample


def _weighted(loss: Any, weight: Tensor) -> Any:
    return [one * weight for one in loss] if isinstance(loss, list) \
        else loss * weight


def _rows(features: Any, rows: Tensor) -> Any:
    """Some rows of every tensor in nested tuples, lists and dicts."""
    if isinstance(features, torch.Tensor):
        return features[rows]
    if isinstance(features, dict):
        return {key: _rows(value, rows) for key, value in features.items()}
    return type(features)(_rows(feature, rows) for feature in features)
