"""What the dense studies share, which have not moved to study.py yet."""
import gc
import os

from benchmarks.lib.plan import ROOT, start
from benchmarks.studies import task_study
from benchmarks.studies.task_study import SELECTION_SEED


def make_parser(doc, study, data, labels):
    """The arguments of :func:`task_study.make_parser`, labels in percent."""
    return task_study.make_parser(
        doc, study, data, labels, type(labels[0]),
        'percent of the images that are labelled', 10)


class PercentStudy(task_study.TaskStudy):
    """The jobs of one run.

    A subclass names the task: its class attributes, ``images``, ``few``,
    ``dpm``, ``finetune`` and ``evaluation``.
    """
    choices = dict(fixed='fixed_t')  # what is chosen for an arm: in its size
    labelled_share = 0.25  # of each batch of stage 1

    def finetune(self, arm, percent, seed, split='test', choice=None):
        """The training that is tested; returns its scores by metric."""
        raise NotImplementedError

    # --- jobs ---------------------------------------------------------------
    @staticmethod
    def job_name(stage, arm, percent, seed, choice=None):
        """What a job is called, and its files."""
        return f'{stage}_{arm}{"" if choice is None else choice}_' \
            f'{percent}percent_seed{seed}'

    def fit(self, name, stage, cfg, test_split=None, after='', show=None):
        """Train by a config, and test where a split is named.

        Args:
            name (str): Of the job.
            stage (str): Its seconds are counted under this name.
            cfg (Config): Of the training.
            test_split (str, optional): What is tested on.
            after (str): Key of the job that it starts from.
            show (str, optional): Split whose predictions are saved as
                pictures, in the job's folder ``show``.

        Returns:
            tuple: The last checkpoint's path (or the scores by metric and the
            path), and the key of the job.
        """
        def run():
            work_dir, resume = self.work_dir(name)
            path = str(work_dir / f'{name}.py')
            cfg.dump(path)
            self.train([path, '--work-dir', str(work_dir), *resume])
            gc.collect()  # a Runner holds itself, its workers and GPU memory
            weights = (work_dir / 'last_checkpoint').read_text() \
                if (work_dir / 'last_checkpoint').exists() else None
            if test_split is None:
                return weights

            def test(part, *arguments):
                # its own name: tests within a second would share a visualizer
                return self.test([
                    path, weights, '--work-dir', str(work_dir), *arguments,
                    '--cfg-options', f'experiment_name={name}_{part}',
                    'test_dataloader.dataset.ann_file='
                    f'{self.annotations(part)}'])

            scores = {metric: round(float(self.score(test(part))), 2) for
                      metric, part in self.parts(test_split).items()}
            if show:
                test(show, '--show-dir', str((work_dir / 'show').absolute()))
            return [scores, weights]

        if test_split is not None:
            cfg.test_cfg = dict()
            for key, value in self.evaluation(test_split).items():
                cfg[key] = value
        tools = ['train'] if test_split is None else ['train', 'test']
        return self.once(name, stage, [after], run, cfg.dump(), tools)

    def best_choice(self, arm, percent):
        """The choice with the best validation score, and the scores of all.

        Args:
            arm (str): Of ``choices``.
            percent (float): Share of labels that decides.
        """
        tried = {choice: self.finetune(arm, percent, SELECTION_SEED, 'val',
                                       choice)[self.metric]
                 for choice in self.size[self.choices[arm]]}
        best = max if self.higher_is_better else min
        return best(tried, key=tried.get), tried


def run_study(args, make_study, finish=None):
    """Run all jobs of a study, with a bar, and report as they end.

    Args:
        args (argparse.Namespace): Of :func:`parse`.
        make_study (Callable): Gives the study.
        finish (Callable, optional): What else is made of the study at the
            end, such as pictures.
    """
    os.chdir(ROOT)  # the configs name their files from here
    from benchmarks.studies.percent_report import write_report
    console, progress = start(args.study.name, args.threads)
    study = make_study(args)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    # seed by seed, so that a run that is stopped has whole seeds
    jobs = [(seed, percent, arm) for seed in seeds
            for percent in args.labels for arm in args.arms]
    chosen_arms = [arm for arm in args.arms if arm in study.choices]
    with progress:
        bar = progress.add_task(
            'diffusion model', total=1 + len(chosen_arms) + len(jobs))
        study.dpm()
        progress.advance(bar)
        best, tried = {}, {}
        percent = sorted(args.labels)[len(args.labels) // 2]
        for arm in chosen_arms:
            progress.update(bar, description=f'choice for {arm}, {percent} %')
            best[arm], tried[arm] = study.best_choice(arm, percent)
            progress.advance(bar)
        scores = {}
        for seed, percent, arm in jobs:
            progress.update(
                bar, description=f'{arm}, {percent} %, seed {seed}')
            scores.setdefault((percent, arm), []).append(study.finetune(
                arm, percent, seed, choice=best.get(arm)))
            write_report(study, scores, tried)
            progress.advance(bar)
    write_report(study, scores, tried, console)
    if finish:
        finish(study)
