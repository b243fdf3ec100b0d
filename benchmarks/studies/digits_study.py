"""The jobs of the study on the digits."""
import os
from pathlib import Path

from benchmarks.lib.plan import ROOT, Plan, tool
from benchmarks.studies.task_study import SELECTION_SEED
from repfusion_mm.analysis.policy_records import read_policy

CONFIGS = Path('configs', 'demo')
RECORDS = ROOT / 'benchmarks' / 'results' / 'digits_records.jsonl'
# a quarter of each distillation batch is labelled: 360 draws beside the rest
LABELLED_DRAWS = 360
# half of each joint one: as many draws a step as from scratch
JOINT_DRAWS = 1080
NUM_CLASSES = 10
STEPS = 500 + 200  # of both stages
PROBE = 'analysis_tools/probe_time'
CANDIDATES = list(range(25, 1000, 50))  # for the best fixed t
TRAINED = 3  # of them
POLICIES = dict(  # how they differ from the reinforced one
    blind={'model.time_sampler.look': False,
           'model.time_sampler.entropy_weight': 0.3},
    constant={'model.time_sampler.policy.type':
              'repfusion_mm.ConstantPolicy'},
    settled={'model.time_sampler.look._delete_': True,
             'model.time_sampler.look.temperature': 0.1,
             'optim_wrapper.paramwise_cfg.custom_keys.time_sampler.lr_mult':
             0.1,
             'model.reward._delete_': True,
             'model.reward.type': 'repfusion_mm.HeldOutReward'})
JOINT = dict(  # how they differ from the joint config
    joint={},
    joint_balanced={'model.balance': True},
    joint_strong={'model.distill_weight': 5.})


def options(values):
    return ['--cfg-options', *(f'{key}={value}' for key, value in
                               values.items())]


def both_parts(labels, seed, draws):
    """Overrides of a training on all images, the labelled ones repeated."""
    parts = 'train_dataloader.dataset.datasets'
    return {
        'randomness.seed': seed,
        f'{parts}.0.labels_per_class': number(labels),
        f'{parts}.0.seed': seed,
        f'{parts}.1.times': 1 if labels == 'all' else
        draws // (NUM_CLASSES * int(labels)),
        f'{parts}.1.dataset.labels_per_class': number(labels),
        f'{parts}.1.dataset.seed': seed,
    }


def number(labels):
    """Of labels a class, as the data sets take it."""
    return 'None' if labels == 'all' else labels


class Study(Plan):
    """The jobs of one run.

    Their keys hold no path: what lies there is an input of its own.
    """

    def __init__(self, args, teacher):
        super().__init__(args.out, Path(
            teacher, 'unet', 'diffusion_pytorch_model.safetensors'
        ).read_bytes(), records=RECORDS)
        self.args = args
        self.teacher = str(teacher)
        self.train, self.test = tool('train'), tool('test')

    @staticmethod
    def text(config, values):
        """What of a config counts in a job's key, its overrides included."""
        from mmengine.config import Config
        return '\n'.join([Config.fromfile(config).dump(), *options(values)])

    def probe(self, split, labels=None):
        """The linear probe over t; each of its seeds draws other labels.

        With ``labels`` a class it is that of the candidates for the best t.
        """
        config, name, values = str(CONFIGS / 'probe_digits.py'), 'probe', {}
        if labels:
            name = f'probe_{labels}labels'
            values = dict(labels_per_class=number(labels),
                          timesteps=str(CANDIDATES).replace(' ', ''))
        arguments = ['--split', split, *options(
            {'teacher.pretrained': self.teacher, **values})]
        return self.once(
            f'{name}_{split}', 'probe', [split],
            lambda: tool(PROBE)([config, *arguments]),
            self.text(config, values), (PROBE, ), record=True)[0]

    def best_fixed(self, labels):
        """The best fixed t, as one finds it who has the validation labels.

        Returns:
            dict: ``t``, its probe's ``probed`` accuracy for all candidates,
            and the accuracies of the ``trained`` ones, by t.
        """
        probed = {row['t']: round(row['accuracy'], 2)
                  for row in self.probe('val', labels)}
        best = sorted(probed, key=probed.get, reverse=True)[:TRAINED]
        trained = {t: self.finetune(f'fixed_t{t}', labels, SELECTION_SEED,
                                    'val')['accuracy'] for t in best}
        return dict(t=max(trained, key=trained.get), trained=trained,
                    probed=probed)

    def distill(self, arm, labels, seed):
        """Stage 1.

        Returns:
            tuple: What runs it, if it is not finished, and gives the
            checkpoint, and the key of the job.
        """
        kind, _, t = arm.partition('_t')  # fixed_t100, bank_t100
        file = 'reinforced' if kind in POLICIES else kind
        config = str(CONFIGS / f'repfusion_resnet18_{file}_digits.py')
        name = f'distill_{arm}_{labels}labels_seed{seed}'
        values = both_parts(labels, seed, LABELLED_DRAWS)
        paths = {'model.teacher.pretrained': self.teacher}
        if t:
            values['model.time_sampler.t'] = t
        values.update(POLICIES.get(kind, {}))
        if kind == 'bank':
            values['model.teacher.timesteps'] = f'[{t}]'
            paths = {'model.teacher.teacher.pretrained': self.teacher,
                     'model.teacher.bank': str(self.jobs / name / 'bank')}
        text = self.text(config, values)

        def run():
            work_dir, resume = self.work_dir(name)
            self.train([config, '--work-dir', str(work_dir), *resume,
                        *options({**values, **paths})])
            return (work_dir / 'last_checkpoint').read_text()

        return lambda: self.once(name, 'distill', [], run, text,
                                 ('train', ))[0], \
            self.key([], text, ('train', ))

    def finetune(self, arm, labels, seed, split=None):
        """Stage 2 and its test.

        Returns:
            dict: ``accuracy`` in percent, and of a policy the t ``looked``
            up before the training, and how t was ``drawn`` in it.
        """
        split = split or self.args.split
        dataset = 'train_dataloader.dataset.dataset'
        values = {
            'randomness.seed': seed,
            f'{dataset}.labels_per_class': number(labels),
            f'{dataset}.seed': seed,
        }
        file, before, after, paths = 'resnet18_scratch', None, '', {}
        if arm == 'scratch_long':
            values.update({'train_cfg.max_iters': STEPS,
                           'train_cfg.val_interval': STEPS})
        elif arm in JOINT:
            file = 'joint-repfusion_resnet18'
            values = {**both_parts(labels, seed, JOINT_DRAWS), **JOINT[arm]}
            paths = {'model.teacher.pretrained': self.teacher}
        elif arm != 'scratch':
            file = 'resnet18_repfusion'
            before, after = self.distill(arm, labels, seed)
        values['test_dataloader.dataset.split'] = split
        config = str(CONFIGS / f'{file}_digits.py')
        name = f'finetune_{arm}_{labels}labels_seed{seed}_{split}'

        def run(checkpoint=None):
            work_dir, resume = self.work_dir(name)
            arguments = options({**values, **paths})
            if checkpoint:
                arguments.append(
                    f'model.backbone.init_cfg.checkpoint={checkpoint}')
            self.train([config, '--work-dir', str(work_dir), *resume,
                        *arguments])
            weights = (work_dir / 'last_checkpoint').read_text()
            metrics = self.test([config, weights, '--work-dir', str(work_dir),
                                 *arguments])
            os.remove(weights)
            return dict(accuracy=round(metrics['accuracy/top1'], 2),
                        **policy_record(checkpoint))

        return self.once(name, 'finetune', [after], run,
                         self.text(config, values), ('train', 'test'),
                         before, record=True)[0]


def policy_record(checkpoint):
    """What the policy of a distillation looked up and drew, if it has one."""
    look, steps = read_policy(Path(checkpoint or '').parent)
    if look is None:
        return {}
    return dict(
        looked=look['chosen_t'],
        drawn=[{key: record[key] for key in ('iter', 'mean_t', 'histogram')}
               for record in steps])
