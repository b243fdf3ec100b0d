from .classification_reward import ClassificationReward
from .contrastive_reward import ContrastiveReward
from .least_squares_reward import LeastSquaresReward
from .student_progress_reward import StudentProgressReward

__all__ = [
    'ClassificationReward', 'ContrastiveReward',
    'LeastSquaresReward',
    'StudentProgressReward',
]
