"""The student's backbone as a module, from a config and a checkpoint."""
from typing import Any, Dict

from mmengine.registry import init_default_scope
from torch import nn

from ..models.utils.building import build_part, preprocessor_config
from ..registry import MODELS
from .student_weights import backbone_weights, read_checkpoint


def build_backbone(cfg: Any) -> nn.Module:
    """The backbone of a config's model, without weights.

    Args:
        cfg (Config): Of stage 1, of a joint model or of any task; neither a
            teacher nor a head is built.

    Returns:
        nn.Module: The backbone.

    Raises:
        ValueError: If the model has none.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model = cfg.get('model', {})
    owner = model.get('task', model)
    if not isinstance(owner, dict) or 'backbone' not in owner:
        raise ValueError('the config has no `model.backbone` and no '
                         '`model.task.backbone`, got a `model` with '
                         f'{sorted(model)}')
    with MODELS.switch_scope_and_registry(_scope(owner)):
        return build_part('model.backbone', owner['backbone'])


def load_backbone(cfg: Any, checkpoint: str) -> nn.Module:
    """The backbone of a config's model, with its weights.

    Args:
        cfg (Config): As for :func:`build_backbone`.
        checkpoint (str): Of RepFusion, JointRepFusion or a task, or what
            ``publish_student.py`` made of one. Nothing of it is run.

    Returns:
        nn.Module: The backbone, in evaluation.

    Raises:
        ValueError: If they do not fit, all of them.
    """
    backbone = build_backbone(cfg)
    weights = backbone_weights(read_checkpoint(checkpoint)[0])
    try:
        backbone.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise ValueError(f'{checkpoint} holds another backbone than the '
                         f'config has: {str(error)[:600]}') from None
    backbone.eval()  # returns nothing in some backbones
    return backbone


def build_preprocessor(cfg: Any) -> nn.Module:
    """What turns pixels into what the backbone of a config takes.

    Args:
        cfg (Config): As for :func:`build_backbone`.

    Returns:
        nn.Module: The data preprocessor.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    model: Dict[str, Any] = cfg.get('model', {})
    owner = model.get('task', model)
    config = model.get('data_preprocessor') or \
        owner.get('data_preprocessor') or cfg.get('data_preprocessor')
    if str(owner.get('type')).endswith('ImageClassifier'):
        config = {'type': 'mmpretrain.ClsDataPreprocessor', **(config or {})}
    with MODELS.switch_scope_and_registry(_scope(owner)):
        return build_part('data_preprocessor', preprocessor_config(config))


def _scope(owner: Any) -> Any:
    """That which a model's own parts are of, if its type says so."""
    name = owner.get('type')
    scope = name.split('.')[0] if isinstance(name, str) and '.' in name \
        else None
    return None if scope == MODELS.scope else scope
