from .joint_repfusion import JointRepFusion
from .repfusion import RepFusion

__all__ = ['JointRepFusion', 'RepFusion']
