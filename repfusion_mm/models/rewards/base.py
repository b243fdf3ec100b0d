"""What all rewards share: what they are shown, and what they answer."""
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

from torch import Tensor, nn

from ..labels.dataset_checks import check_labels, check_num_classes

# the reward (N,), the mask (N,) of those that count, losses of the reward's
# own parts
Judgement = Tuple[Tensor, Tensor, Dict[str, Tensor]]


class RewardInputs(NamedTuple):
    """A batch, as a reward may look at it.

    Attributes:
        images (Tensor): Raw images, RGB, 0 to 255, (N, 3, H, W).
        timesteps (Tensor): The t that are to be judged, long, (N,).
        teacher (dict[str, Tensor]): z(t) by teacher tap, (N, C, h, w) or
            (N, C).
        student (dict[str, Tensor]): The student's features by tap, with their
            graph.
        data_samples (Sequence): The labels, as the task's library packs them.
        loss_feature (Tensor, optional): Sum of the feature losses, with its
            graph.
        look (Callable, optional): Gives z(t) by tap for other images at the
            same time steps.
    """
    images: Tensor
    timesteps: Tensor
    teacher: Dict[str, Tensor]
    student: Dict[str, Tensor]
    data_samples: Sequence[Any]
    loss_feature: Optional[Tensor] = None
    look: Optional[Callable[[Tensor], Dict[str, Tensor]]] = None


class Reward(nn.Module):
    """Says what the t drawn for each image was worth."""
    reads_labels = True  # of the data samples
    shows_views = False  # to the teacher, of its own making
    least_images = 1  # of a process's batch
    learns_from_look = False  # `learn_from` what was seen before the training

    def forward(self, inputs: RewardInputs) -> Judgement:
        """What the time steps of a batch were worth.

        Args:
            inputs (RewardInputs): The batch.

        Returns:
            tuple: The reward (N,), without gradient; the mask (N,) of the
            images whose reward counts; and losses of what the reward trains,
            by name. Where no image counts the losses are zero times an
            output, so that DDP sees every gradient.
        """
        raise NotImplementedError

    def check_dataset(self, dataset: Any) -> None:
        """Make sure, before training, that there is what the reward reads.

        Args:
            dataset: Of the training; one that does not tell is not looked at.

        Raises:
            ValueError: If there is not.
        """

    def check_samples(self, data_samples: Sequence[Any]) -> None:
        """Make sure, before a step, that the labels can be read.

        Args:
            data_samples (Sequence): Of a batch, in the host's memory.

        Raises:
            ValueError: If one cannot. The file is named.
        """


class ClassReward(Reward):
    """A reward that reads the class of an image.

    Args:
        num_classes (int): Number of classes: at least 2, or 1 if
            ``multi_label``.
        multi_label (bool): Whether several classes, or none, may apply to an
            image. Defaults to False.

    Raises:
        ValueError: If there are too few classes.
    """

    def __init__(self, num_classes: int, multi_label: bool = False) -> None:
        super().__init__()
        check_num_classes(num_classes, at_least=1 if multi_label else 2)
        self.num_classes = num_classes
        self.multi_label = multi_label

    def check_dataset(self, dataset: Any) -> None:
        """Make sure, before training, that there are labels to reward by.

        Args:
            dataset: Of the training; one without ``get_data_info`` is not
                looked at.

        Raises:
            ValueError: If no image has a label, one has a label that is no
                class, or there are more classes than ``num_classes``.
        """
        check_labels(dataset, self.num_classes, type(self).__name__,
                     self.multi_label)
