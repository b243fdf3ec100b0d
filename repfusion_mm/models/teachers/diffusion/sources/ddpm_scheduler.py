"""The noise schedule beside a denoiser, if it is one of DDPM's kind."""
import inspect
from typing import Any, Optional

from mmengine.logging import print_log

from .files import Files, has, read_json
from .pixel_pipeline import pipeline_index

# the schedulers of diffusers that take a DDPM through its time steps, which
# are numbers from 0 to `num_train_timesteps` - 1, with betas
DDPM_KIND = (
    'DDPMScheduler', 'DDPMParallelScheduler', 'DDIMScheduler',
    'DDIMParallelScheduler', 'DDIMInverseScheduler', 'PNDMScheduler',
    'DPMSolverMultistepScheduler', 'DPMSolverMultistepInverseScheduler',
    'DPMSolverSinglestepScheduler', 'DPMSolverSDEScheduler',
    'DEISMultistepScheduler', 'UniPCMultistepScheduler', 'SASolverScheduler',
    'EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler',
    'HeunDiscreteScheduler', 'KDPM2DiscreteScheduler',
    'KDPM2AncestralDiscreteScheduler', 'LMSDiscreteScheduler',
    'LCMScheduler', 'TCDScheduler', 'RePaintScheduler')
# whose denoisers are told the noise's sigma, whatever scheduler is there
SIGMA_PIPELINES = ('ScoreSdeVePipeline', 'ScoreSdeVpPipeline',
                   'KarrasVePipeline', 'ConsistencyModelPipeline')
# settings of those schedulers by which t is no number of a step any more
NO_STEP_NUMBER = dict(timestep_type='continuous', use_flow_sigmas=True)
BETAS = {'beta_start', 'beta_end', 'beta_schedule', 'trained_betas'}
# what the denoiser predicts changes nothing about its features
PREDICTIONS = ('epsilon', 'sample', 'v_prediction')
REMEDY = ('take a denoiser with a scheduler of DDPM\'s kind (DDPMScheduler, '
          'DDIMScheduler, PNDMScheduler, ...), such as '
          '\'google/ddpm-celebahq-256\'')
OTHER_TIME = ('what its denoiser takes as the time is the sigma of the noise, '
              'or something else, and not the number of a DDPM\'s time step; '
              f'{REMEDY}')


def read_scheduler(files: Files, prefix: str) -> Any:
    """The noise schedule of a denoiser, DDPM's default if it has none.

    Args:
        files (Files): Of the pipeline.
        prefix (str): Of the denoiser's files in it.

    Returns:
        diffusers.DDPMScheduler: Its betas and number of time steps, whichever
        scheduler of DDPM's kind they came from.

    Raises:
        OSError: If it cannot be read.
        ValueError: If the scheduler is of another kind, so that the denoiser
            does not take the number of a time step, or its betas make no
            sense.
    """
    index = pipeline_index(files)
    name = next((one for one in (f'{prefix}scheduler_config.json',
                                 'scheduler/scheduler_config.json',
                                 'scheduler_config.json')
                 if has(files, one)), None)
    config = {} if name is None else read_json(files, name)
    kind = config.get('_class_name') or (
        index.get('scheduler') or [None, None])[1]
    who = f'`teacher.pretrained`, {files.where!r}, '
    if index.get('_class_name') in SIGMA_PIPELINES:
        raise ValueError(f'{who}is a {index["_class_name"]}: {OTHER_TIME}')
    who += f'has a {kind or "scheduler without `_class_name`"}' + (
        f' in {name!r}' if name else '')
    if name is None:
        print_log(f'{files.where} has no scheduler config: 1000 linear steps '
                  'are assumed', 'current', level=30)
    elif kind is None and not BETAS & set(config):
        raise ValueError(f'{who} and without betas; {REMEDY}')
    if kind is not None and kind not in DDPM_KIND:
        raise ValueError(f'{who}: {OTHER_TIME}')
    for key, value in NO_STEP_NUMBER.items():
        if config.get(key) == value:
            raise ValueError(f'{who} with `{key}` {value!r}: {OTHER_TIME}')
    if config.get('prediction_type', 'epsilon') not in PREDICTIONS:
        raise ValueError(f'{who} with `prediction_type` '
                         f'{config["prediction_type"]!r}, expected one of '
                         f'{PREDICTIONS}; {REMEDY}')
    return _ddpm_scheduler(config, kind, who)


def _ddpm_scheduler(config: dict, kind: Optional[str], who: str) -> Any:
    import diffusers
    settings = {**_defaults(getattr(diffusers, kind or '', None)), **config}
    steps = settings.get('num_train_timesteps', 1000)
    betas = settings.get('trained_betas')
    if betas is not None and len(betas) != steps:
        raise ValueError(f'{who} with {len(betas)} `trained_betas`, but '
                         f'`num_train_timesteps` is {steps}')
    known = _defaults(diffusers.DDPMScheduler)
    try:
        return diffusers.DDPMScheduler(**{
            key: value for key, value in settings.items() if key in known})
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(f'{who}, which DDPMScheduler cannot follow: '
                         f'{error}') from error


def _defaults(cls: Any) -> dict:
    """What a scheduler takes where its config says nothing."""
    return {} if cls is None else {
        name: parameter.default for name, parameter
        in inspect.signature(cls.__init__).parameters.items()
        if parameter.default is not inspect.Parameter.empty}
