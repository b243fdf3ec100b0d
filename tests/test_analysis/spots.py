"""Images of one keypoint each."""
import numpy as np
import torch


class Spots:
    """White spots, and where they are, as of mmpose."""
    metainfo: dict = {}

    def __init__(self, number):
        self.places = 15 * torch.rand(number, 2)

    def __len__(self):
        return len(self.places)

    def __getitem__(self, index):
        from mmengine.structures import InstanceData
        from mmpose.structures import PoseDataSample
        x, y = self.places[index]
        # as wide as a keypoint's Gaussian: two pixels, one cell
        across, down = (torch.exp(-(torch.arange(16) - place)**2 / 8)
                        for place in (x, y))
        return dict(
            inputs=(255 * down[:, None] * across).byte().repeat(3, 1, 1),
            data_samples=PoseDataSample(gt_instances=InstanceData(
                transformed_keypoints=np.array([[[x, y]]], 'float32'),
                keypoints_visible=np.ones((1, 1), 'float32'))))
