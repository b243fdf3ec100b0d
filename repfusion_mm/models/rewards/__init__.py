from .classification_reward import ClassificationReward
from .contrastive_reward import ContrastiveReward
from .keypoint_reward import KeypointReward
from .least_squares_reward import LeastSquaresReward
from .segmentation_reward import SegmentationReward
from .student_progress_reward import StudentProgressReward

__all__ = [
    'ClassificationReward', 'ContrastiveReward',
    'KeypointReward', 'LeastSquaresReward',
    'SegmentationReward', 'StudentProgressReward',
]
