"""OpenAI's guided-diffusion denoisers as frozen teachers."""
from typing import Any, Optional, Sequence, Union

from repfusion_mm.arguments.annotations import Range, Size
from repfusion_mm.registry import MODELS

from .sources.guided.flags import settle_flags
from .sources.guided.weights import GuidedDiffusionCheckpoint
from .teacher import DenoiserTeacher


@MODELS.register_module()
class GuidedDiffusionTeacher(DenoiserTeacher):
    """Features z(t) of a frozen denoiser of OpenAI's guided-diffusion.

    The checkpoint becomes a ``UNet2DModel`` of diffusers as it is read, so
    that taps have that model's names, such as ``mid_block.resnets.1.conv2``
    (``middle_block.2.out_layers.3`` there). Otherwise it is what
    :class:`UNetTeacher` is. The flags tell the shapes: the file is opened in
    :meth:`init_weights` only.

    Args:
        checkpoint (str): File, such as ``'64x64_diffusion.pt'``; its names
            may have a wrapper's prefix, and of weights and their average
            (``ema``) the average is read.
        preset (str, optional): Flags of a released checkpoint: ``'64x64'``,
            ``'128x128'``, ``'256x256'``, ``'512x512'`` (class-conditional) or
            ``'256x256_uncond'`` (also LSUN's and FFHQ's). Defaults to None:
            the defaults of guided-diffusion's own scripts.
        taps (Sequence[str], optional): Module paths inside the denoiser, as
            in :class:`UNetTeacher`.
        add_noise (bool): Noise the image to the level of t, by the
            checkpoint's own schedule. Defaults to False.
        input_size (int or Sequence[int], optional): The images are resized to
            it. Defaults to the flag ``image_size``, the size that the
            denoiser was trained at.
        input_range (Sequence[float]): Values that the denoiser knows for
            black and for 255. Defaults to ``(-1, 1)``.
        dtype (str, optional): ``'float32'``, ``'float16'`` or ``'bfloat16'``,
            as in :class:`UNetTeacher`.
        class_condition (dict, optional): Which of ImageNet's 1000 classes it
            is told, as in :class:`UNetTeacher`. Needed with ``class_cond``.
        channels_last (bool): As in :class:`UNetTeacher`.
        compile (bool or dict): As in :class:`UNetTeacher`.
        **flags: guided-diffusion's flags by their own names, which override
            the preset's, also as texts: ``image_size``, ``num_channels``,
            ``num_res_blocks``, ``channel_mult``, ``attention_resolutions``,
            ``num_heads``, ``num_heads_upsample``, ``num_head_channels``,
            ``resblock_updown``, ``use_scale_shift_norm``,
            ``use_new_attention_order``, ``class_cond``, ``learn_sigma``,
            ``diffusion_steps`` (t is from 0 to it, less 1),
            ``noise_schedule``, ``rescale_timesteps`` and ``predict_xstart``.
            A wrong number of heads or attention order cannot be seen from
            the file, nor can the last four. Those of training and sampling
            are taken and change nothing: ``dropout``, ``use_checkpoint``,
            ``use_fp16`` (see ``dtype``), ``use_kl``,
            ``rescale_learned_sigmas`` and ``timestep_respacing``.

    Raises:
        ValueError: If a flag is unknown or wrong, or as for
            :class:`UNetTeacher`.

    Source: Dhariwal and Nichol, "Diffusion Models Beat GANs on Image
    Synthesis", NeurIPS 2021.

    Example:
        >>> teacher = dict(
        ...     type='repfusion_mm.GuidedDiffusionTeacher',
        ...     checkpoint='checkpoints/64x64_diffusion.pt',
        ...     preset='64x64',
        ...     class_condition=dict(average='all'),
        ...     taps=['mid_block.resnets.1.conv2'])
    """

    def __init__(self,
                 checkpoint: str,
                 preset: Optional[str] = None,
                 taps: Optional[Sequence[str]] = None,
                 add_noise: bool = False,
                 input_size: Optional[Size] = None,
                 input_range: Range = (-1., 1.),
                 dtype: Optional[str] = None,
                 class_condition: Optional[dict] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 **flags: Any) -> None:
        source = GuidedDiffusionCheckpoint(checkpoint,
                                           settle_flags(preset, flags))
        super().__init__(source, taps, add_noise, input_size, input_range,
                         dtype, class_condition, channels_last, compile,
                         'teacher.input_size')
