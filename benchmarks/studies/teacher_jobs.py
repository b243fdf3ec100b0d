"""The jobs that a study's teacher takes: itself, its bank, its tap and t."""
import hashlib
from pathlib import Path

from benchmarks.lib.plan import tool
from benchmarks.studies.training import Training

FILL = 'analysis_tools/fill_bank'


class GivenDPM:
    """A diffusion model that is there: a job that is done.

    Args:
        folder (str): In diffusers' layout.
    """
    is_finished = True

    def __init__(self, folder):
        self.weights, digest = str(folder), hashlib.sha256()
        for path in sorted(Path(folder).rglob('*')):
            if path.is_file():
                digest.update(path.read_bytes())
        self.key = digest.hexdigest()

    def result(self):
        return None


class TrainedDPM(Training):
    """A diffusion model that is trained by a config."""

    @property
    def weights(self):
        """The folder that DPMExportHook writes."""
        return str(self.folder / 'dpm')


class FilledBank:
    """A feature bank, filled before anything is drawn from it.

    It changes no result, so that its key is the diffusion model's.

    Args:
        study (Study): Whose job it is.
        name (str): Of the job.
        cfg (Config): Of a training from the bank.
        before (Training or GivenDPM): The diffusion model.
    """

    def __init__(self, study, name, cfg, before):
        self.study, self.name, self.cfg, self.before = study, name, cfg, before
        self.key, self.weights = before.key, cfg.model.teacher.bank
        self._job = [before.key], study.portable(cfg), [FILL]
        self._key = study.key(*self._job)

    @property
    def is_finished(self):
        return self.study.finished(self.name, self._key) is not None

    def result(self):
        inputs, text, tools = self._job

        def run():
            self.before.result()
            path = str(self.study.jobs / f'{self.name}.py')
            self.cfg.dump(path)
            tool(FILL)([path, '--batch-size', '512'])

        return self.study.once(self.name, 'bank', inputs, run, text, tools)[0]


def choose_tap(cfg, val, steps):
    """Ask whether it will pay, and at which tap.

    Args:
        cfg (Config): Of a stage 1 whose policy is reinforced.
        val (dict): Config of the validation images.
        steps (int): Of its short trainings.

    Returns:
        dict: What :func:`will_it_pay` answers.
    """
    from mmengine.registry import init_default_scope
    from mmengine.runner import set_random_seed

    from repfusion_mm.analysis.will_it_pay import will_it_pay
    init_default_scope(cfg.default_scope)
    set_random_seed(0)
    return will_it_pay(cfg, val=val, steps=steps, device=device())


def probe_times(cfg, dataset, tap, timesteps):
    """How much of the labels a linear probe reads at each time step.

    Args:
        cfg (Config): Of a stage 1.
        dataset (dict): Config of labelled images, each of which is read by
            what was fitted to the others.
        tap (str): Of the teacher.
        timesteps (Sequence[int]): To be looked at.

    Returns:
        dict: As of :meth:`Look.record`.
    """
    from repfusion_mm.analysis.look import look
    teacher, looked = teacher_and_images(cfg, dataset)
    return look(teacher, looked, list(timesteps), [tap],
                device=device())[tap].record()


def teacher_and_images(cfg, dataset):
    """A stage 1's teacher, and the images that it is to be shown.

    Args:
        cfg (Config): Of the stage 1.
        dataset (dict): Config of labelled images.

    Returns:
        tuple: The teacher with its weights, on :func:`device`, and the
        LookedImages, one view of each.
    """
    from mmengine.registry import init_default_scope

    from repfusion_mm.analysis.looked_images import view_images
    from repfusion_mm.registry import DATASETS, MODELS
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.teacher.init_weights()
    model.to(device())
    dataset = DATASETS.build(dataset)
    return model.teacher, view_images(
        dataset, range(len(dataset)), 1, model.data_preprocessor,
        model.raw_image)


def device():
    """A GPU where there is one."""
    import torch
    return 'cuda' if torch.cuda.is_available() else 'cpu'
