"""What the studies of single tasks share: configs, budgets, arms."""
import argparse
import copy
import functools

from benchmarks.lib.plan import ROOT, Plan, tool
from benchmarks.studies.choices import Choices
from benchmarks.studies.training import Training, portable

SELECTION_SEED = 0  # makes the choices on validation; is not reported


def make_parser(doc, study, data, labels):
    """The arguments that all studies take.

    Args:
        doc (str): The study's description.
        study (type): The study, a subclass of :class:`Study`.
        data (str): Default and layout of ``--data``.
        labels (Sequence[int]): Default of ``--labels``.

    Returns:
        argparse.ArgumentParser: For :func:`parse`.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder, layout = data
    first = next(iter(study.sizes))
    parser.add_argument('--data', default=folder,
                        help=f'{layout} (default: %(default)s)')
    parser.add_argument('--dpm', help='a diffusion model, as a diffusers '
                        'folder, instead of training one')
    parser.add_argument('--size', choices=list(study.sizes), default=first,
                        help='how large it all is (default: %(default)s)')
    parser.add_argument('--out', help='folder of results (default: '
                        f'work_dirs/{study.name}_<size>)')
    parser.add_argument(
        '--labels', nargs='+', type=number_of_labels, default=labels,
        help=f'{study.labels_of} that are labelled, or "all" (default: '
        f'{" ".join(map(str, labels))})')
    parser.add_argument('--seeds', type=int, default=3,
                        help='number of seeds (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=100,
                        help='the seeds count from here (default: '
                        '%(default)s)')
    parser.add_argument(
        '--arms', nargs='+', choices=list(study.arms),
        default=[arm for arm in study.arms if arm not in study.left_out],
        help='what to compare (default: all'
        + ''.join(f' but {arm}' for arm in study.left_out) + ')')
    parser.add_argument('--threads', type=int,
                        help='threads of each process (default: torch\'s)')
    parser.add_argument('--processes', type=int, default=1,
                        help='that share the work (default: %(default)s)')
    parser.add_argument('--minutes', type=float,
                        help='begin no training after so many (default: go '
                        'on to the end)')
    parser.set_defaults(study=study)
    return parser


def number_of_labels(text):
    """A number, or ``'all'``."""
    if text == 'all':
        return text
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(
            f'{text!r} is neither a number above 0 nor "all"')
    return int(text)


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
    ``dpm``, ``distill``, ``start_from`` and ``evaluation``.

    Args:
        args (argparse.Namespace): Of :func:`parse`.
        *inputs (bytes): What every job depends on.
    """
    name = ''
    arms: dict = {}
    left_out: tuple = ()  # arms that are run only where asked for
    needs_labels: tuple = ()  # arms whose stage 1 reads labels
    labels_of = 'images'
    sizes: dict = {}
    metric = ''  # decides which choice is the best
    higher_is_better = True
    labelled_share = 1 / 16  # of each batch of a stage 1 that reads labels
    libraries: tuple = ()  # whose versions the report names
    criteria: tuple = ()  # of the report, see paired.Criterion

    def __init__(self, args, *inputs):
        records = ROOT / 'benchmarks' / 'results' / \
            f'{self.name}_{args.size}.jsonl'
        super().__init__(args.out, *inputs, records=records)
        self.args, self.size = args, copy.deepcopy(self.sizes[args.size])
        self.size['both'] = dict(
            self.size['finetune'], iters=self.size['distill']['iters'] +
            self.size['finetune']['iters'])
        self.train, self.test = tool('train'), tool('test')
        self.choices = Choices(self)
        # configs take their time
        self.finetune = functools.cache(self.finetune)
        self.distill = functools.cache(self.distill)

    # --- what a task must say -----------------------------------------------
    def few(self, labels, part, seed):
        """The labelled or the unlabelled part of the training images."""
        raise NotImplementedError

    def num_images(self, labels):
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

    def distill(self, arm, labels, seed, t=None):
        """Stage 1 of an arm, a :class:`Training`; at t where it is fixed."""
        raise NotImplementedError

    def start_from(self, labels, seed, budget, first, show):
        """The config of stage 2.

        Args:
            labels (int or str): Labels.
            seed (int): Of all that is random.
            budget (str): Of the size, ``'finetune'`` or ``'both'``.
            first (Training, optional): Stage 1; None from scratch.
            show (bool): Whether pictures are to be drawn.

        Returns:
            Config: Without a learning rate.
        """
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

    def mixture(self, labels, seed, share):
        """All images, the labelled ones repeated to a share of each batch."""
        labelled, rest = self.num_images(labels)
        times = max(1, round(rest * share / (1 - share) / labelled))
        return dict(type='ConcatDataset', datasets=[
            self.few(labels, 'unlabelled', seed),
            dict(type='RepeatDataset', times=times,
                 dataset=self.few(labels, 'labelled', seed))])

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

    def portable(self, cfg):
        """A config's text, the same on every machine."""
        return portable(cfg, {
            path: name for name, path in (
                ('<out>', str(self.out.absolute())), ('<out>', str(self.out)),
                ('<data>', str(self.args.data)),
                ('<dpm>', self.args.dpm)) if path})

    # --- jobs ---------------------------------------------------------------
    def finetune(self, arm, labels, seed, split='test', lr=None, budget=None,
                 t=None):
        """Stage 2 of an arm, and its test.

        Args:
            arm (str): Of ``arms``.
            labels (int or str): Labels.
            seed (int): Of all that is random.
            split (str): What it is tested on.
            lr (float, optional): Learning rate. Defaults to None: as chosen.
            budget (str, optional): ``'finetune'`` or ``'both'``. Defaults to
                None: as chosen.
            t (int, optional): Of the arm ``fixed``. Defaults to None: as
                chosen.

        Returns:
            Training: The job.
        """
        if lr is None:
            lr, budget = self.choices.of(arm)
        first = None
        if arm == 'fixed' and t is None:
            t = self.choices.t()
        if arm not in ('scratch', 'scratch_long'):
            first = self.distill(
                arm, labels if arm in self.needs_labels else None, seed, t)
        show = split == 'test' and labels == self.args.labels[0] and \
            seed == self.args.first_seed
        cfg = self.start_from(labels, seed, budget, first, show)
        cfg.optim_wrapper.optimizer.lr = lr
        at = '' if t is None else f'_t{t}'
        return self.training(
            f'finetune_{arm}{at}_{labels}labels_seed{seed}_{budget}_'
            f'lr{lr:g}_{split}', 'finetune', cfg, first, split,
            'pictures' if show and self.draws else None)

    draws = False  # whether predictions are shown as pictures

    def training(self, *args, **kwargs):
        """A job of this study."""
        return Training(self, *args, **kwargs)

    def stage_1(self, arm, labels, seed, t, cfg, before=None):
        """The job of a stage 1, by its config."""
        parts = [arm if t is None else f'{arm}_t{t}', *(
            [] if labels is None else [f'{labels}labels']), f'seed{seed}']
        return self.training(f'distill_{"_".join(parts)}', 'distill', cfg,
                             before)
