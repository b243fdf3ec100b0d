"""A study whose labels are counts and whose choices are made first."""
import argparse
import functools
import json
from pathlib import Path

from benchmarks.lib.plan import ROOT
from benchmarks.studies import task_study
from benchmarks.studies.choices import Choices
from benchmarks.studies.task_study import SELECTION_SEED
from benchmarks.studies.teacher_jobs import (
    GivenDPM,
    TrainedDPM,
    choose_tap,
    probe_times,
)
from benchmarks.studies.training import Training

BIN = 50  # time steps, 20 bins
MIDDLES = list(range(BIN // 2, 1000, BIN))


def settled_policy():
    """What the arm ``reinforced`` changes in a config of stage 1.

    Its reward tells little that the look has not told: the policy starts
    nearly settled, and what is noise must not move it.

    Returns:
        tuple[dict, dict]: Of ``model`` and of ``optim_wrapper``.
    """
    model = dict(
        time_sampler=dict(num_bins=len(MIDDLES), entropy_weight=0.,
                          look=dict(temperature=0.1)),
        reward=dict(_delete_=True, type='repfusion_mm.HeldOutReward'))
    return model, dict(paramwise_cfg=dict(custom_keys=dict(
        time_sampler=dict(lr_mult=0.1))))


def make_parser(doc, study, data, labels):
    """The arguments of :func:`task_study.make_parser`, and more.

    Args:
        doc (str): The study's description.
        study (type): The study, a subclass of :class:`Study`.
        data (str): Default and layout of ``--data``.
        labels (Sequence[int]): Default of ``--labels``.

    Returns:
        argparse.ArgumentParser: For :func:`task_study.parse`.
    """
    parser = task_study.make_parser(
        doc, study, data, labels, number_of_labels,
        f'{study.labels_of} that are labelled, or "all"', 100)
    parser.add_argument('--dpm', help='a diffusion model, as a diffusers '
                        'folder, instead of training one')
    parser.add_argument('--chosen', metavar='JSON', help='a report of before, '
                        'or its "chosen": none of what was chosen there is '
                        'tried again')
    parser.add_argument('--beside', metavar='JSON', help='a report of '
                        'before: its other arms are compared with these, seed '
                        'by seed')
    parser.add_argument('--processes', type=int, default=1,
                        help='that share the work (default: %(default)s)')
    parser.add_argument('--float32', action='store_true', help='do not '
                        'compute in bfloat16, which is slower on a CPU '
                        'without instructions for it')
    parser.add_argument('--minutes', type=float,
                        help='begin no training after so many (default: go '
                        'on to the end)')
    return parser


def number_of_labels(text):
    """A number, or ``'all'``."""
    if text == 'all':
        return text
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(
            f'{text!r} is neither a number above 0 nor "all"')
    return int(text)


def _read(path):
    return json.loads(Path(path).read_text()) if path else {}


class Study(task_study.TaskStudy):
    """The jobs of one run, each a :class:`Training`.

    A subclass names the task: its class attributes, ``images``, ``few``,
    ``evaluation``, and the configs that are asked for below.

    Args:
        args (argparse.Namespace): Of :func:`make_parser`.
        *inputs (bytes): What every job depends on.
    """
    needs_labels: tuple = ()  # arms whose stage 1 reads labels
    labels_of = 'images'
    labelled_share = 1 / 16  # of each batch of a stage 1 that reads labels
    criteria: tuple = ()  # of the report, see paired.Criterion
    shown = None  # split whose predictions are drawn, of the first seed

    def __init__(self, args, *inputs):
        super().__init__(
            args, *inputs, records=ROOT / 'benchmarks' / 'results' /
            f'{self.name}_{args.size}.jsonl')
        if args.float32:
            self.size['amp'] = False
            self.size['teacher'].pop('dtype', None)
        given = _read(args.chosen)
        self.choices = Choices(self, given.get('chosen', given))
        self.beside = _read(args.beside).get('results', [])
        # configs take their time
        self.finetune = functools.cache(self.finetune)
        self.distill = functools.cache(self.distill)

    # --- what a task must say, too ------------------------------------------
    def dpm_config(self):
        """The config of the diffusion model's training."""
        raise NotImplementedError

    def distillation(self, arm, labels, seed, t=None, tap=None):
        """The config of a stage 1 from the diffusion model.

        Args:
            arm (str): Of ``arms``.
            labels (int or str, optional): Labels; None where it reads none.
            seed (int): Of all that is random.
            t (int, optional): Where it is fixed.
            tap (str, optional): Of the teacher. Defaults to None: the chosen
                one.

        Returns:
            Config: Which computes the features in each step.
        """
        raise NotImplementedError

    def val_images(self):
        """Config of the validation images, with labels of what is seen."""
        raise NotImplementedError

    def distill(self, arm, labels, seed, t=None):
        """Stage 1 of an arm, a :class:`Training`; at t where it is fixed."""
        raise NotImplementedError

    def start_from(self, labels, seed, budget, first):
        """The config of stage 2.

        Args:
            labels (int or str): Labels.
            seed (int): Of all that is random.
            budget (str): Of the size, ``'finetune'`` or ``'both'``.
            first (Training, optional): Stage 1; None from scratch.

        Returns:
            Config: Without a learning rate.
        """
        raise NotImplementedError

    def joint(self, labels, seed):
        """The config of both stages in one, without a learning rate."""
        raise NotImplementedError

    # --- the teacher --------------------------------------------------------
    @functools.cached_property
    def dpm(self):
        """The diffusion model, a job."""
        if self.args.dpm:
            return GivenDPM(self.args.dpm)
        return TrainedDPM(self, 'dpm', 'dpm', self.dpm_config())

    def prepare(self):
        """Diffusion model, tap and probe, before all else."""
        self.dpm.result()
        self.probed_t()

    @functools.cached_property
    def tap(self):
        """The teacher's tap, and all that was found with it."""
        if 'tap' in self.choices.given:
            return self.choices.given['tap']
        cfg = self.distillation('reinforced', self.args.labels[0],
                                SELECTION_SEED, tap='mid_block.resnets.1')
        val = self.val_images()
        steps = min(600, self.size['finetune']['iters'])
        return self.once(
            'tap', 'choices', [self.dpm.key, str(steps)],
            lambda: choose_tap(cfg, val, steps), self.portable(cfg),
            ['analysis_tools/will_it_pay'], record=True)[0]

    @functools.cached_property
    def _probe(self):
        if 'probe' in self.choices.given:
            return self.choices.given['probe']
        cfg = self.distillation('fixed', None, SELECTION_SEED, t=0)
        tap = self.tap['tap']
        return self.once(
            'probe', 'choices', [self.dpm.key], lambda: probe_times(
                cfg, self.val_images(), tap, MIDDLES),
            self.portable(cfg), record=True)[0]

    def probed_t(self):
        """The middles of the time bins, the best one by a probe first."""
        scores = self._probe['score']
        return sorted(MIDDLES, key=lambda t: -scores[MIDDLES.index(t)])

    def record(self):
        """What was chosen, for the report."""
        return dict(self.choices.record(), tap=self.tap, probe=self._probe)

    # --- jobs ---------------------------------------------------------------
    def portable(self, cfg):
        """A config's text without the paths of one machine."""
        text = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
        places = {str(self.out.absolute()): '<out>', str(self.out): '<out>',
                  str(self.args.data): '<data>', self.args.dpm: '<dpm>'}
        # the longer ones first, which may hold others
        for path in sorted(filter(None, places), key=len, reverse=True):
            text = text.replace(path, places[path])
        return text

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
        if arm == 'joint':
            cfg, first = self.joint(labels, seed), self.dpm
        else:
            if arm not in ('scratch', 'scratch_long'):
                first = self.distill(
                    arm, labels if arm in self.needs_labels else None, seed,
                    t)
            cfg = self.start_from(labels, seed, budget, first)
        cfg.optim_wrapper.optimizer.lr = lr
        at = '' if t is None else f'_t{t}'
        args = self.args
        is_shown = split == 'test' and (labels, seed) == (
            args.labels[0], args.first_seed)
        return Training(
            self, f'finetune_{arm}{at}_{labels}labels_seed{seed}_{budget}_'
            f'lr{lr:g}_{split}', 'finetune', cfg, first, split,
            self.shown if is_shown else None)

    def stage_1(self, arm, labels, seed, t, cfg, before=None):
        """The job of a stage 1, by its config."""
        parts = [arm if t is None else f'{arm}_t{t}', *(
            [] if labels is None else [f'{labels}labels']), f'seed{seed}']
        return Training(self, f'distill_{"_".join(parts)}', 'distill', cfg,
                        before)
