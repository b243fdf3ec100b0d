from .classification_reward import ClassificationReward
from .contrastive_reward import ContrastiveReward
from .held_out_reward import HeldOutReward
from .keypoint_reward import KeypointReward
from .least_squares_reward import LeastSquaresReward
from .segmentation_reward import SegmentationReward
from .student_progress_reward import StudentProgressReward

__all__ = [
    'ClassificationReward', 'ContrastiveReward',
    'HeldOutReward', 'KeypointReward', 'LeastSquaresReward',
    'SegmentationReward', 'StudentProgressReward',
]
