from .attention_transfer_loss import AttentionTransferLoss
from .attentive_feature_loss import AttentiveFeatureLoss
from .cka_loss import CKALoss
from .contrastive_representation_loss import ContrastiveRepresentationLoss
from .cosine_loss import CosineLoss
from .hint_loss import HintLoss
from .info_nce_loss import InfoNCELoss
from .relational_loss import RelationalLoss
from .soft_label_loss import SoftLabelLoss

__all__ = [
    'AttentionTransferLoss', 'AttentiveFeatureLoss', 'CKALoss',
    'ContrastiveRepresentationLoss', 'CosineLoss', 'HintLoss', 'InfoNCELoss',
    'RelationalLoss', 'SoftLabelLoss'
]
