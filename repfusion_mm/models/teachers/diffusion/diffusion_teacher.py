"""Any diffusion model of diffusers as a frozen teacher."""
from typing import Optional, Sequence, Union

from repfusion_mm.arguments.annotations import Range, Size
from repfusion_mm.registry import MODELS

from .conditions.store import FOLDER
from .sources import find_family
from .sources.folder import Options
from .sources.layout import open_layout
from .teacher import DenoiserTeacher

LATENTS = ('mean', 'sample')


@MODELS.register_module()
class DiffusionTeacher(DenoiserTeacher):
    """Features z(t) of a frozen diffusion model, whichever it is.

    The folder says what it is: the classes that ``model_index.json`` and
    ``config.json`` name tell how images become latents, what the denoiser is
    told beside them, how its time is called, and which of a module's outputs
    are the image's. docs/teachers.md lists the families.

    Time means the same in all of them: t is a whole number from 0 to
    ``num_timesteps`` - 1, and the signal-to-noise ratio falls as t grows. The
    autoencoder, and what is told, are frozen, in no state dict, and moved
    with the teacher. Text encoders are read to encode what is not stored yet,
    and are not kept.

    Args:
        pretrained (str): Folder or hub id of a diffusers pipeline, or its
            denoiser's subfolder; or a single ``.safetensors`` file with all
            weights, beside ``config``.
        taps (Sequence[str], optional): Module paths inside the denoiser.
            Tokens of an image (N, L, C) come as maps (N, C, h, w). Defaults
            to the taps that the connections and the reward of the model name,
            or else to one that is usual in the family.
        condition (dict, optional): What the denoiser is told beside t.
            Of a text: ``dict(prompt='a photo')``; ``dict(class_names=['cat',
            'dog'])``, or a dict from label to name, the name of the class of
            each label, in a ``template`` that is ``'a photo of a {}'`` if it
            is not given; an image without a label, -1, gets no prompt. Of a
            class: as ``class_condition`` of :class:`UNetTeacher`. Features
            that know the label make a reward that reads labels worthless:
            both together are refused, unless ``leak_labels=True`` stands
            beside. Defaults to None: no prompt, as in the training without
            guidance; of DiT, the class that says nothing; needed elsewhere
            where it is a class.
        add_noise (bool or int): Noise what the denoiser looks at to the level
            of t, by its own forward process. A number is how many draws of
            the noise the features are the mean of, and costs as many forward
            passes. Defaults to False: the clean image is conditioned on t.
        image_size (int or Sequence[int], optional): The images are resized to
            it. Defaults to the size that it was trained at.
        input_range (Sequence[float]): Values of black and of 255. Defaults to
            ``(-1, 1)``.
        latents (str): ``'mean'``, or ``'sample'``, drawn anew, of what the
            autoencoder says that the latents are. Defaults to ``'mean'``.
        condition_dir (str): Folder in which encoded prompts are kept.
            Defaults to ``'~/.cache/repfusion_mm/conditions'``.
        dtype (str, optional): ``'float32'``, ``'float16'`` or ``'bfloat16'``,
            as in :class:`UNetTeacher`, of the autoencoder too, unless its
            config says that float16 is too small for it
            (``force_upcast``).
        channels_last (bool): As in :class:`UNetTeacher`.
        compile (bool or dict): As in :class:`UNetTeacher`, of the denoiser.
        variant (str, optional): As in :class:`UNetTeacher`.
        revision (str, optional): As in :class:`UNetTeacher`.
        config (str, optional): Folder or hub id of a pipeline of the same
            kind, beside a single file of weights: its configs, and its text
            encoders. Defaults to None.

    Raises:
        FileNotFoundError: If there is no such folder, or a part is missing.
        ValueError: If it is of no family that is known, or of a class that
            the installed diffusers does not have; if a tap does not exist, or
            the size or the condition do not suit.

    Source: Yang and Wang, "Diffusion Model as Representation Learner", ICCV
    2023; Tang et al., "Emergent Correspondence from Image Diffusion",
    NeurIPS 2023.

    Example:
        >>> teacher = dict(
        ...     type='repfusion_mm.DiffusionTeacher',
        ...     pretrained='configs/demo/dpm_digits',
        ...     taps=['mid_block.resnets.1'])
    """

    def __init__(self,
                 pretrained: str,
                 taps: Optional[Sequence[str]] = None,
                 condition: Optional[dict] = None,
                 add_noise: Union[bool, int] = False,
                 image_size: Optional[Size] = None,
                 input_range: Range = (-1., 1.),
                 latents: str = 'mean',
                 condition_dir: str = FOLDER,
                 dtype: Optional[str] = None,
                 channels_last: bool = False,
                 compile: Union[bool, dict] = False,
                 variant: Optional[str] = None,
                 revision: Optional[str] = None,
                 config: Optional[str] = None) -> None:
        if latents not in LATENTS:
            raise ValueError(f'`teacher.latents` is {latents!r}, expected '
                             f'one of {LATENTS}')
        layout = open_layout(pretrained, revision, variant, config)
        source = find_family(layout)(  # type: ignore[call-arg]
            layout, Options(latents, condition_dir))
        super().__init__(
            source, taps, add_noise, image_size, input_range, dtype,
            condition, channels_last, compile,
            condition_key='teacher.condition')
        self.draws_latents = latents == 'sample'
