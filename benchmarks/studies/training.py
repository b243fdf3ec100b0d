"""A job of a study: a training by a config, and the test of its weights."""
import gc
import os

import torch

from repfusion_mm.analysis.policy_records import read_policy


class Training:
    """A training that is run when somebody needs what comes out.

    Its key is known before, so that a score that was recorded elsewhere does
    without the trainings that it started from.

    Args:
        study (Study): Whose job it is.
        name (str): Of the job.
        stage (str): Its seconds are counted under this name.
        cfg (Config): Of the training.
        before (Training, optional): What it starts from.
        split (str, optional): What the weights are tested on, and thrown away
            then.
        shown (str, optional): Split whose predictions are drawn, into the
            job's folder ``show``.
    """

    def __init__(self, study, name, stage, cfg, before=None, split=None,
                 shown=None):
        self.study, self.name, self.stage, self.cfg = study, name, stage, cfg
        self.before, self.split, self.shown = before, split, shown
        if split is not None:
            cfg.test_cfg = dict()
            for key, value in study.evaluation(split).items():
                cfg[key] = value
        self._text = study.portable(cfg)
        self._tools = ['train'] if split is None else ['train', 'test']
        self._inputs = [before.key] if before else []
        self.key = study.key(self._inputs, self._text, self._tools)

    @property
    def folder(self):
        return self.study.jobs / self.name

    @property
    def weights(self):
        """Where its last checkpoint lies, once it was run."""
        return str(self.folder / f'iter_{self.cfg.train_cfg.max_iters}.pth')

    @property
    def is_finished(self):
        return self.study.finished(self.name, self.key) is not None

    def result(self):
        """Run it, unless it was.

        Returns:
            dict: Scores by metric where it is tested, and ``stage_1``, which
            t were drawn; of a stage 1 just these.

        Raises:
            BlockingIOError: If another process is at it, or at what it starts
                from, and the study does not wait.
        """
        return self.study.once(
            self.name, self.stage, self._inputs, self._run, self._text,
            self._tools, self.before and self._begin,
            record=self.split is not None)[0]

    def _begin(self):
        found = self.before.result()
        if not os.path.exists(self.before.weights):
            raise FileNotFoundError(
                f'{self.before.weights} of a finished job is gone: delete '
                f'{self.before.folder}.json')
        return found

    def _run(self, stage_1=None):
        study = self.study
        work_dir, resume = study.work_dir(self.name)
        path = str(work_dir / f'{self.name}.py')
        self.cfg.dump(path)
        study.train([path, '--work-dir', str(work_dir), *resume])
        gc.collect()  # a Runner holds itself, its workers and GPU memory
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # others use this GPU
        if self.split is None:
            return drawn_times(work_dir)

        def test(part, *arguments):
            # its own name: tests within a second would share a visualizer
            return study.test([
                path, self.weights, '--work-dir', str(work_dir), *arguments,
                '--cfg-options', f'experiment_name={self.name}_{part}',
                'test_dataloader.dataset.ann_file='
                f'{study.annotations(part)}'])

        scores = {metric: round(float(study.score(test(part))), 2)
                  for metric, part in study.parts(self.split).items()}
        if self.shown:
            test(self.shown, '--show-dir', str((work_dir / 'show').absolute()))
        os.remove(self.weights)
        drawn = stage_1 or drawn_times(work_dir)
        return dict(scores, stage_1=drawn) if drawn else scores


def drawn_times(folder):
    """Which t a stage 1 drew last, and what a look found.

    Args:
        folder (Path): Its ``work_dir``.

    Returns:
        dict: ``mean_t``, ``histogram``, and ``looked_t``, ``seconds_of_look``
        and ``share_of_look`` where it looked; empty for other trainings.
    """
    look, steps = read_policy(folder)
    found = {key: steps[-1][key] for key in ('mean_t', 'histogram')} \
        if steps else {}
    if look:
        found.update(looked_t=look['chosen_t'],
                     seconds_of_look=look['seconds'],
                     share_of_look=look['share_of_passes'])
    return found
