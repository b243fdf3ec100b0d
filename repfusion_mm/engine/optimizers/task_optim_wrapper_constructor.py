"""A library's own learning rates for the layers of a joint model's task."""
from typing import Any, Dict, Optional

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_CONSTRUCTORS,
)

from repfusion_mm.arguments.config_error import under
from repfusion_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TaskOptimWrapperConstructor:
    """Hands the task of a :class:`JointRepFusion` to another constructor.

    The layer-wise learning rates of mmseg and mmpose go by the names of
    parameters. In a joint model these begin with ``task.``, so that every
    layer would count as the last one, without a word. Through this
    constructor they see the task's model alone. What distils
    (projectors, policy, reward) is trained at the optimiser's own rate.

    mmpretrain's asks the model, and works on a joint model as it is.

    Args:
        optim_wrapper_cfg (dict): Of the optimiser, as MMEngine passes it.
        paramwise_cfg (dict): ``task_constructor``, the type of the task's
            constructor, and what that one reads.

    Raises:
        KeyError: If there is no ``task_constructor``.

    Example:
        >>> optim_wrapper = dict(
        ...     optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
        ...     constructor='repfusion_mm.TaskOptimWrapperConstructor',
        ...     paramwise_cfg=dict(
        ...         task_constructor='mmengine.DefaultOptimWrapperConstructor',
        ...         norm_decay_mult=0.))
    """

    def __init__(self,
                 optim_wrapper_cfg: dict,
                 paramwise_cfg: Optional[dict] = None) -> None:
        paramwise_cfg = dict(paramwise_cfg or {})
        if 'task_constructor' not in paramwise_cfg:
            raise KeyError(
                '`optim_wrapper.paramwise_cfg` has no `task_constructor`, '
                'the constructor of the task\'s own library, for example '
                f'LearningRateDecayOptimizerConstructor: {paramwise_cfg}')
        with under('optim_wrapper.paramwise_cfg.task_constructor'):
            self.constructor = MMENGINE_CONSTRUCTORS.build(dict(
                type=paramwise_cfg.pop('task_constructor'),
                optim_wrapper_cfg=optim_wrapper_cfg,
                paramwise_cfg=paramwise_cfg))

    def __call__(self, model: Any) -> OptimWrapper:
        """Build the optimiser.

        Args:
            model (nn.Module): A joint model.

        Returns:
            OptimWrapper: Of all its trained parameters.

        Raises:
            TypeError: If the model has no ``task``.
        """
        if is_model_wrapper(model):
            model = model.module
        if not hasattr(model, 'task'):
            raise TypeError('TaskOptimWrapperConstructor belongs to a '
                            f'JointRepFusion, got {type(model).__name__}')
        wrapper = self.constructor(model.task)
        ours = {name: parameter
                for name, parameter in model.named_parameters()
                if not name.startswith('task.') and parameter.requires_grad}
        group: Dict[str, list] = dict(params=list(ours.values()))
        # PyTorch wants names in all groups or in none, and mmseg's have some
        if 'param_names' in wrapper.optimizer.param_groups[0]:
            group['param_names'] = list(ours)
        wrapper.optimizer.add_param_group(group)
        return wrapper
