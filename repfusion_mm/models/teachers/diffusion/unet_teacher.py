"""A diffusers denoiser as a frozen teacher."""
from typing import Optional, Sequence, Union

from repfusion_mm.arguments.annotations import Range, Size
from repfusion_mm.registry import MODELS

from .sources.unet2d import DiffusersFolder
from .teacher import DenoiserTeacher


@MODELS.register_module()
class UNetTeacher(DenoiserTeacher):
    """Features z(t) of a frozen denoiser, ``UNet2DModel`` of diffusers.

    An image and a time step go in, the features at the taps come out. The
    denoiser must be one of images, trained as a DDPM, whatever it predicts
    (noise, image or velocity) and whichever sampler lies beside it. The
    forward pass ends at the deepest tap, and what lies behind it is not kept.
    The denoiser is no submodule: it is in no state dict, optimiser or EMA
    copy, a deepcopy shares it, and ``.to()`` moves it.

    Channels are known as soon as the teacher is built, from the config alone;
    the weights are read in :meth:`init_weights`, which the Runner calls
    before training only.

    Args:
        pretrained (str, optional): Folder or hub id, for example
            ``'google/ddpm-cifar10-32'``, of a diffusers pipeline or model.
        config (dict, optional): Config of a ``UNet2DModel``. Beside
            ``pretrained`` it makes the model independent of that folder until
            its weights are read, and must say what the folder says. In its
            place, the weights are random: for tests, and to measure speed.
        taps (Sequence[str], optional): Module paths inside the denoiser; of
            a block that returns several tensors its hidden states. Defaults
            to the taps that the connections and the reward of the model name,
            or else to ``mid_block``.
        add_noise (bool): Noise the image to the level of t, by the teacher's
            own scheduler, before it is looked at. Defaults to False: the
            clean image is conditioned on t, as published.
        image_size (int or Sequence[int], optional): The images are resized to
            it. Defaults to the size that the denoiser was trained at.
        input_range (Sequence[float]): Values that the denoiser knows for
            black and for 255. Defaults to ``(-1, 1)``, diffusers'
            x / 127.5 - 1. The published CIFAR-10 runs, x / 128 - 1, have
            ``(-1, 127 / 128)``.
        dtype (str, optional): ``'float32'``, ``'float16'`` or ``'bfloat16'``
            for weights and computation. Defaults to None: float32, and
            whatever autocast says around it.
        class_condition (dict, optional): Which class a class-conditional
            denoiser is told that it sees; needed there, refused elsewhere.
            ``dict(fixed=207)``: this class for every image.
            ``dict(average=[1, 2, 3])`` or ``dict(average='all')``: the mean
            of their embeddings, in one forward pass.
            ``dict(class_map=[281, 207])`` or ``dict(class_map={0: 281})``:
            the class of each label of the data set; an image without a label,
            -1, gets the average over the mapped classes. Features that know
            the label make a reward that reads labels worthless: both together
            are refused, unless ``leak_labels=True`` stands beside
            ``class_map``.
        channels_last (bool): Whether it computes in that memory format, which
            a GPU's tensor cores like. Defaults to False.
        compile (bool or dict): Whether the pass up to the deepest tap is
            compiled, as one graph for each batch size; a dict holds
            ``torch.compile``'s arguments, such as
            ``dict(mode='reduce-overhead')`` for CUDA graphs. Defaults to
            False.
        variant (str, optional): Which of several kinds of weights is read,
            such as ``'fp16'`` of ``diffusion_pytorch_model.fp16.safetensors``
            (they are computed with as ``dtype`` says). Defaults to None: the
            plain ones or, where there are none, the only variant.
        revision (str, optional): Branch, tag or commit on the hub. Defaults
            to None: the main branch.

    Raises:
        ValueError: If neither ``pretrained`` nor ``config`` is given, a tap
            does not exist (the nearest are named), the image size does not
            suit the denoiser, or ``class_condition`` does not; or if the
            denoiser is one of latents, or its time is not the number of a
            time step (score SDE, EDM, consistency models, flow matching).

    Source: Yang and Wang, "Diffusion Model as Representation Learner", ICCV
    2023, section 3.

    Example:
        >>> teacher = dict(
        ...     type='repfusion_mm.UNetTeacher',
        ...     config=dict(sample_size=32, block_out_channels=(32, 64),
        ...                 down_block_types=('DownBlock2D', 'DownBlock2D'),
        ...                 up_block_types=('UpBlock2D', 'UpBlock2D')),
        ...     taps=['mid_block.resnets.1.conv2'])
    """

    def __init__(self,
                 pretrained: Optional[str] = None,
                 config: Optional[dict] = None,
                 taps: Optional[Sequence[str]] = None,
                 add_noise: bool = False,
                 image_size: Optional[Size] = None,
                 input_range: Range = (-1., 1.),
                 dtype: Optional[str] = None,
                 class_condition: Optional[dict] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 variant: Optional[str] = None,
                 revision: Optional[str] = None) -> None:
        super().__init__(
            DiffusersFolder(pretrained, config, variant, revision), taps,
            add_noise, image_size, input_range, dtype, class_condition,
            channels_last, compile)
