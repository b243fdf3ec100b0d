"""Writes a trained DPM as a diffusers folder."""
import os.path as osp

from mmengine.dist import master_only
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper

from repfusion_mm.arguments.annotations import Count, Index
from repfusion_mm.models.dpm.sample_grid import sample_grid
from repfusion_mm.registry import HOOKS

from .bare_model import bare_model
from .finite_weights import FiniteWeights
from .run_checks import check_loop


@HOOKS.register_module()
class DPMExportHook(Hook):
    """After training, writes ``<work_dir>/dpm`` and a picture of samples.

    The averaged weights are written where an ``EMAHook`` keeps some. The
    picture goes to the visualizer as ``dpm_samples``. Weights that are not
    finite are neither exported nor saved in a checkpoint.

    Args:
        num_samples (int): Images to draw; 0 draws none. Defaults to 16.
        sampling_steps (int): DDIM steps for them, at most the model's
            ``num_timesteps``. Defaults to 50.
        half (bool): Write the weights in float16, half the size. Defaults to
            False.

    Example:
        >>> custom_hooks = [
        ...     dict(type='EMAHook', momentum=0.001),
        ...     dict(type='repfusion_mm.DPMExportHook', num_samples=16)]
    """
    priority = 'VERY_LOW'  # behind EMAHook

    def __init__(self, num_samples: Index = 16,
                 sampling_steps: Count = 50,
                 half: bool = False) -> None:
        self.num_samples = num_samples
        self.sampling_steps = sampling_steps
        self.half = half

    def before_train(self, runner) -> None:
        """Look which weights are finite; refuse a run that validates.

        Args:
            runner (Runner): Its model is a :class:`DPM`, which cannot.

        Raises:
            ValueError: If it does, or the samples could not be drawn at the
                end.
        """
        if runner.val_loop is not None:
            check_loop(bare_model(runner), 'val')
        most = bare_model(runner).scheduler.config.num_train_timesteps
        if self.num_samples and self.sampling_steps > most:
            raise ValueError(
                f'`sampling_steps` of DPMExportHook is {self.sampling_steps}, '
                f'expected at most {most}, the time steps of the model')
        self._finite_weights = FiniteWeights(bare_model(runner))

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep weights that are not finite out of the checkpoint.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What is about to be written.

        Raises:
            FloatingPointError: If a loss was not finite, or a weight is not.
        """
        bare_model(runner).finite.wait()
        self._finite_weights.check(checkpoint)

    @master_only
    def after_train(self, runner) -> None:
        """Export and draw samples.

        Args:
            runner (Runner): Its model is a :class:`DPM`.

        Raises:
            FloatingPointError: If a loss was not finite, or a weight is not.
        """
        bare_model(runner).finite.wait()
        model = runner.model
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                model = hook.ema_model.module
        if is_model_wrapper(model):
            model = model.module
        self._finite_weights.check_state(model.state_dict())
        folder = osp.join(runner.work_dir, 'dpm')
        model.export(folder, self.half)
        runner.logger.info(f'The diffusion model is in {folder}')
        if self.num_samples:
            runner.visualizer.add_image(
                'dpm_samples', sample_grid(
                    model.denoiser, model.scheduler, self.num_samples,
                    self.sampling_steps))
