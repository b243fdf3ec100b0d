"""From a diffusion model to a better backbone, on real handwritten digits.

Everything runs through the public configs and the Runner: a diffusion model
is trained (or the shipped one taken) and probed over t; for each seed a
backbone is distilled by each arm, fine-tuned on the few labelled images and
tested. The arms of a seed see the same batches and the same labels. Finished
jobs are kept in <out>/jobs and not run again.
"""
import argparse
import os
import os.path as osp
import time
from pathlib import Path

from benchmarks.lib.plan import ROOT, Plan, quiet, start, tool

CONFIGS = ROOT / 'configs' / 'demo'
DPM = CONFIGS / 'dpm_digits'
# a quarter of each distillation batch is labelled: 360 draws beside the rest
LABELLED_DRAWS = 360
NUM_CLASSES = 10
PROBE = 'analysis_tools/probe_time'


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='work_dirs/demo',
                        help='folder of results (default: %(default)s)')
    parser.add_argument('--labels', nargs='+', default=['2'],
                        help='labels a class, numbers or "all" (default: 2)')
    parser.add_argument('--seeds', type=int, default=5,
                        help='number of seeds (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=10,
                        help='the seeds count from here (default: 10; 0 to 9 '
                        'chose the settings, on val)')
    parser.add_argument(
        '--arms', nargs='+', default=['scratch', 'fixed_t0', 'uniform',
                                      'reinforced'],
        help='what the fine-tuning starts from: scratch, fixed_t<N>, '
        'bank_t<N> (the same from a feature bank of whole images), uniform, '
        'reinforced (default: %(default)s)')
    parser.add_argument('--split', choices=['val', 'test'], default='test',
                        help='what is predicted: val to choose settings, '
                        'test (default) to report them')
    parser.add_argument('--train-dpm', action='store_true',
                        help='train the diffusion model (20 minutes) instead '
                        'of taking the shipped one')
    parser.add_argument('--threads', type=int,
                        help='threads of this process (default: torch\'s)')
    return parser.parse_args(argv)


def options(**values):
    return ['--cfg-options', *(f'{key}={value}' for key, value in
                               values.items())]


class Study(Plan):
    """The jobs of one run."""

    def __init__(self, args, teacher):
        super().__init__(args.out, Path(
            teacher, 'unet', 'diffusion_pytorch_model.safetensors'
        ).read_bytes())
        self.args = args
        self.teacher = str(teacher)
        self.train, self.test = tool('train'), tool('test')

    def once(self, name, stage, config, arguments, run, after='',
             tools=('train', )):
        """As the plan's, of a config with arguments, ``after`` a job's key."""
        from mmengine.config import Config
        text = '\n'.join([Config.fromfile(config).dump(), *arguments])
        return super().once(name, stage, [after], run, text, tools)

    def distill(self, arm, labels, seed):
        """Stage 1; returns the checkpoint and the key of the job."""
        kind, _, t = arm.partition('_t')  # fixed_t100, bank_t100
        config = str(CONFIGS / f'repfusion_resnet18_{kind}_digits.py')
        name = f'distill_{arm}_{labels}labels_seed{seed}'
        dataset = 'train_dataloader.dataset.datasets'
        times = 1 if labels == 'all' else \
            LABELLED_DRAWS // (NUM_CLASSES * int(labels))
        few = 'None' if labels == 'all' else labels
        values = {
            'randomness.seed': seed,
            'model.teacher.pretrained': self.teacher,
            f'{dataset}.0.labels_per_class': few,
            f'{dataset}.0.seed': seed,
            f'{dataset}.1.times': times,
            f'{dataset}.1.dataset.labels_per_class': few,
            f'{dataset}.1.dataset.seed': seed,
        }
        if t:
            values['model.time_sampler.t'] = t
        if kind == 'bank':
            values['model.teacher.teacher.pretrained'] = values.pop(
                'model.teacher.pretrained')
            values['model.teacher.timesteps'] = f'[{t}]'
            values['model.teacher.bank'] = str(self.jobs / name / 'bank')
        arguments = options(**values)

        def run():
            work_dir, resume = self.work_dir(name)
            self.train([config, '--work-dir', str(work_dir), *resume,
                        *arguments])
            return (work_dir / 'last_checkpoint').read_text()

        return self.once(name, 'distill', config, arguments, run)

    def finetune(self, arm, labels, seed):
        """Stage 2 and its test; returns the accuracy in percent."""
        dataset = 'train_dataloader.dataset.dataset'
        values = {
            'randomness.seed': seed,
            f'{dataset}.labels_per_class':
            'None' if labels == 'all' else labels,
            f'{dataset}.seed': seed,
            'test_dataloader.dataset.split': self.args.split,
        }
        start, after = 'scratch', ''
        if arm != 'scratch':
            start = 'repfusion'
            checkpoint, after = self.distill(arm, labels, seed)
            values['model.backbone.init_cfg.checkpoint'] = checkpoint
        config = str(CONFIGS / f'resnet18_{start}_digits.py')
        name = f'finetune_{arm}_{labels}labels_seed{seed}_{self.args.split}'
        arguments = options(**values)

        def run():
            work_dir, resume = self.work_dir(name)
            self.train([config, '--work-dir', str(work_dir), *resume,
                        *arguments])
            weights = (work_dir / 'last_checkpoint').read_text()
            metrics = self.test([config, weights, '--work-dir', str(work_dir),
                                 *arguments])
            os.remove(weights)
            return round(metrics['accuracy/top1'], 2)

        return self.once(name, 'finetune', config, arguments, run, after,
                         ('train', 'test'))[0]


def main(argv=None):
    args = parse_args(argv)
    os.chdir(ROOT)  # the configs name their files from here
    from benchmarks.studies.digits_report import print_table, write_report
    console, progress = start('digits', args.threads)
    Path(args.out).mkdir(parents=True, exist_ok=True)

    jobs = [(labels, seed, arm) for labels in args.labels
            for seed in range(args.first_seed, args.first_seed + args.seeds)
            for arm in args.arms]
    with progress:
        bar = progress.add_task('diffusion model', total=len(jobs) + 2)
        teacher, seconds = DPM, None
        if args.train_dpm:
            teacher = Path(args.out, 'dpm', 'dpm')
            begun = time.time()
            if not teacher.exists():
                with quiet(Path(args.out, 'log.txt')):
                    tool('train')([str(CONFIGS / 'dpm_unet_digits.py'),
                                   '--work-dir', str(Path(args.out, 'dpm'))])
            seconds = time.time() - begun
        study = Study(args, teacher)
        if seconds is not None:
            study.took('dpm', 'dpm', seconds)
        progress.update(bar, advance=1, description='linear probe over t')
        config = str(CONFIGS / 'probe_digits.py')
        arguments = ['--split', args.split, *options(
            **{'teacher.pretrained': study.teacher})]
        probe, _ = study.once(
            f'probe_{args.split}', 'probe', config, arguments,
            lambda: tool(PROBE)([config, *arguments]), tools=(PROBE, ))
        progress.advance(bar)
        accuracy = {}
        for labels, seed, arm in jobs:
            progress.update(
                bar, description=f'{arm}, {labels} labels a class, '
                f'seed {seed}')
            accuracy.setdefault((labels, arm), []).append(
                study.finetune(arm, labels, seed))
            progress.advance(bar)
        progress.update(bar, description='done')

    study.took('total', 'total', sum(study.seconds.values()))
    results = [dict(init=arm, labels_per_class=labels if labels == 'all'
                    else int(labels), accuracy=accuracies)
               for (labels, arm), accuracies in accuracy.items()]
    report = write_report(study, results, probe)
    print_table(report, console)
    console.print(f'The report is {osp.join(args.out, "report.html")}')
    return report


if __name__ == '__main__':
    main()
