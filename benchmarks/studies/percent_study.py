"""What the dense studies share, which have not moved to study.py yet."""
import argparse
import copy
import gc
import os

from benchmarks.lib.plan import ROOT, Plan, start, tool

SELECTION_SEED = 0  # makes the choices on validation; is not reported


def make_parser(doc, study, data, labels):
    """The arguments that all studies take.

    Args:
        doc (str): The study's description.
        study (type): The study, a subclass of :class:`Study`.
        data (str): Default and layout of ``--data``.
        labels (Sequence[float]): Default of ``--labels``, in percent.

    Returns:
        argparse.ArgumentParser: For :func:`parse`.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder, layout = data
    parser.add_argument('--data', default=folder,
                        help=f'{layout} (default: %(default)s)')
    parser.add_argument('--size', choices=list(study.sizes), default='smoke',
                        help='how large it all is (default: %(default)s)')
    parser.add_argument('--out', help='folder of results (default: '
                        f'work_dirs/{study.name}_<size>)')
    parser.add_argument(
        '--labels', nargs='+', type=type(labels[0]), default=labels,
        help='percent of the images that are labelled (default: '
        f'{" ".join(map(str, labels))})')
    parser.add_argument('--seeds', type=int, default=3,
                        help='number of seeds (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=10,
                        help='the seeds count from here (default: '
                        '%(default)s)')
    parser.add_argument(
        '--arms', nargs='+', choices=list(study.arms),
        default=[arm for arm in study.arms if arm not in study.left_out],
        help='what to compare (default: all'
        + ''.join(f' but {arm}' for arm in study.left_out) + ')')
    parser.add_argument('--threads', type=int,
                        help='threads of this process (default: torch\'s)')
    parser.set_defaults(study=study)
    return parser


def parse(parser, argv=None):
    """The arguments, checked."""
    args = parser.parse_args(argv)
    if args.first_seed <= SELECTION_SEED:
        parser.error(f'--first-seed must be above {SELECTION_SEED}, the seed '
                     'that makes the choices on validation')
    args.out = args.out or f'work_dirs/{args.study.name}_{args.size}'
    return args


class Study(Plan):
    """The jobs of one run.

    A subclass names the task: its class attributes, ``images``, ``few``,
    ``dpm``, ``finetune`` and ``evaluation``.

    Args:
        args (argparse.Namespace): Of :func:`parse`.
        *inputs (bytes): What every job depends on.
    """
    name = ''
    arms: dict = {}
    left_out: tuple = ()  # arms that are run only where asked for
    sizes: dict = {}
    choices = dict(fixed='fixed_t')  # what is chosen for an arm: in its size
    metric = ''  # decides which choice is the best
    higher_is_better = True
    labelled_share = 0.25  # of each batch of stage 1
    libraries = ()  # whose versions the report names, beside the usual

    def __init__(self, args, *inputs):
        super().__init__(args.out, *inputs)
        self.args, self.size = args, copy.deepcopy(self.sizes[args.size])
        self.size['both'] = dict(
            self.size['finetune'], iters=self.size['distill']['iters'] +
            self.size['finetune']['iters'])
        self.train, self.test = tool('train'), tool('test')

    # --- what a task must say -----------------------------------------------
    def few(self, percent, part, seed):
        """The labelled or the unlabelled part of the training images."""
        raise NotImplementedError

    def num_images(self, percent):
        """Labelled and unlabelled training images."""
        raise NotImplementedError

    def annotations(self, split):
        """The file that lists the images of a split."""
        return str((self.out / f'{split}.txt').absolute())

    def evaluation(self, split):
        """Test data loader and evaluator of a split."""
        raise NotImplementedError

    def parts(self, split):
        """Splits to be tested on, by the name of the metric."""
        return {self.metric: split}

    def score(self, metrics):
        """The figure that is reported of what the test printed."""
        raise NotImplementedError

    def finetune(self, arm, percent, seed, split='test', choice=None):
        """The training that is tested; returns its scores by metric."""
        raise NotImplementedError

    # --- configs ------------------------------------------------------------
    def loader(self, dataset, batch, seed, infinite=True):
        return dict(
            batch_size=batch, num_workers=self.size['workers'],
            persistent_workers=self.size['workers'] > 0,
            pin_memory=self.size['workers'] > 0,
            # its own seed: whatever an arm draws, the batches are the same
            sampler=dict(type='InfiniteSampler' if infinite else
                         'DefaultSampler', shuffle=infinite, seed=seed),
            dataset=dataset)

    def mixture(self, percent, seed, share):
        """All images, the labelled ones repeated to a share of each batch."""
        labelled, rest = self.num_images(percent)
        times = max(1, round(rest * share / (1 - share) / labelled))
        return dict(type='ConcatDataset', datasets=[
            self.few(percent, 'unlabelled', seed),
            dict(type='RepeatDataset', times=times,
                 dataset=self.few(percent, 'labelled', seed))])

    def config(self, path, budget, dataset, seed, **changes):
        """A public config with this study's data, size and budget."""
        from mmengine.config import Config
        cfg = Config.fromfile(str(ROOT / 'configs' / path))
        budget = self.size[budget]
        warmup = max(1, budget['iters'] // 10)
        everywhere = dict(
            train_dataloader=dict(
                _delete_=True, **self.loader(dataset, budget['batch'], seed)),
            train_cfg=dict(_delete_=True, by_epoch=False,
                           max_iters=budget['iters'],
                           val_interval=budget['iters']),
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.04, end=warmup,
                     by_epoch=False),
                dict(type='CosineAnnealingLR', begin=warmup, by_epoch=False)],
            optim_wrapper=dict(
                _delete_=True,
                optimizer=dict(type='AdamW', lr=budget['lr'],
                               weight_decay=0.05)),
            default_hooks=dict(checkpoint=dict(
                by_epoch=False, max_keep_ckpts=2,  # one may be half written
                interval=min(budget.get('checkpoint', 1000),
                             budget['iters']))),
            log_processor=dict(by_epoch=False),
            val_cfg=None, val_dataloader=None, val_evaluator=None,
            test_cfg=None, test_dataloader=None, test_evaluator=None,
            randomness=dict(seed=seed))
        if self.size['amp']:
            everywhere['optim_wrapper'].update(
                type='repfusion_mm.BFloat16OptimWrapper')
        cfg.merge_from_dict(everywhere)
        self.preprocess(cfg)
        cfg.merge_from_dict(copy.deepcopy(changes))
        return cfg

    def preprocess(self, cfg):
        """Adapt a config's data preprocessors to the images as read here."""

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
