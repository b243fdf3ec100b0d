"""What all studies of single tasks share: arguments, configs, budgets."""
import argparse
import copy

from benchmarks.lib.plan import ROOT, Plan, tool

SELECTION_SEED = 0  # makes the choices on validation; is not reported


def make_parser(doc, study, data, labels, label_type, label_help,
                first_seed):
    """The arguments that all studies take.

    Args:
        doc (str): The study's description.
        study (type): The study, a subclass of :class:`TaskStudy`.
        data (str): Default and layout of ``--data``.
        labels (Sequence): Default of ``--labels``.
        label_type (Callable): Reads one of them.
        label_help (str): What they are.
        first_seed (int): Default of ``--first-seed``.

    Returns:
        argparse.ArgumentParser: For :func:`parse`.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder, layout = data
    first = next(iter(study.sizes))
    parser.add_argument('--data', default=folder,
                        help=f'{layout} (default: %(default)s)')
    parser.add_argument('--size', choices=list(study.sizes), default=first,
                        help='how large it all is (default: %(default)s)')
    parser.add_argument('--out', help='folder of results (default: '
                        f'work_dirs/{study.name}_<size>)')
    parser.add_argument(
        '--labels', nargs='+', type=label_type, default=labels,
        help=f'{label_help} (default: {" ".join(map(str, labels))})')
    parser.add_argument('--seeds', type=int, default=3,
                        help='number of seeds (default: %(default)s)')
    parser.add_argument('--first-seed', type=int,
                        default=first_seed,
                        help='the seeds count from here (default: '
                        '%(default)s)')
    parser.add_argument(
        '--arms', nargs='+', choices=list(study.arms),
        default=[arm for arm in study.arms if arm not in study.left_out],
        help='what to compare (default: all'
        + ''.join(f' but {arm}' for arm in study.left_out) + ')')
    parser.add_argument('--threads', type=int,
                        help='threads of each process (default: torch\'s)')
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


class TaskStudy(Plan):
    """The jobs of one run, but for how they are made.

    Args:
        args (argparse.Namespace): Of :func:`parse`.
        *inputs (bytes): What every job depends on.
        records (Path, optional): Of an earlier machine, see :class:`Plan`.
    """
    name = ''
    arms: dict = {}
    left_out: tuple = ()  # arms that are run only where asked for
    sizes: dict = {}
    metric = ''  # decides which choice is the best
    higher_is_better = True
    libraries: tuple = ()  # whose versions the report names, beside the usual

    def __init__(self, args, *inputs, records=None):
        super().__init__(args.out, *inputs, records=records)
        self.args, self.size = args, copy.deepcopy(self.sizes[args.size])
        self.size['both'] = dict(
            self.size['finetune'], iters=self.size['distill']['iters'] +
            self.size['finetune']['iters'])
        self.train, self.test = tool('train'), tool('test')

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
