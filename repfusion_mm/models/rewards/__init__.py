from .classification_reward import ClassificationReward

__all__ = ['ClassificationReward']
