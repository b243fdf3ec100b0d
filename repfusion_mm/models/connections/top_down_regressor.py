"""Features of all stages of a student, each knowing the deeper ones."""
from collections import OrderedDict
from typing import Sequence, Tuple

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from repfusion_mm.arguments.annotations import Count
from repfusion_mm.registry import MODELS


@MODELS.register_module()
class TopDownRegressor(nn.Module):
    """A feature pyramid on the student's stages, to match several levels.

    Each stage's output is brought to one width and added to the upsampled
    deeper ones, as in feature pyramid networks. ``regressor.<i>`` is the
    pyramid's map at the resolution of the i-th stage. The backbone must put
    its stages out (``out_indices``).

    Args:
        in_channels (Sequence[int]): Of the stages. Set by the model.
        out_channels (int): Width of all maps. Defaults to 256.

    Source: Li et al., "DreamTeacher: Pretraining Image Backbones with Deep
    Generative Models", ICCV 2023, section 3.2; Lin et al., "Feature Pyramid
    Networks for Object Detection", CVPR 2017.

    Example:
        >>> regressor = dict(type='repfusion_mm.TopDownRegressor')
    """

    def __init__(self, in_channels: Sequence[Count],
                 out_channels: Count = 256) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(in_channels), out_channels)

    def forward(self, features: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Maps of all stages.

        Args:
            features (Sequence[Tensor]): The student's, shallow to deep, each
                (N, C_i, H_i, W_i).

        Returns:
            tuple[Tensor, ...]: (N, out_channels, H_i, W_i) for each.
        """
        named = OrderedDict(
            (str(index), feature) for index, feature in enumerate(features))
        return tuple(self.pyramid(named).values())
