"""RepFusion and its baselines on CIFAR-10, with few and with all labels.

A diffusion model is trained on the training images, without labels. For each
share of labels and each seed a backbone is distilled by each arm, fine-tuned
on the labelled images and tested on the official test images. All arms of a
seed see the same batches and labels, and all distilled ones have the same
budget; scratch_long fine-tunes for as many steps as they take in both stages.
Which fixed t is the best one is decided on validation images, for the middle
share of labels, by a seed that is not reported.
Everything runs from the public configs; finished jobs are kept in <out>/jobs
and not run again.
"""
import copy
import random
import shutil
from pathlib import Path

from benchmarks.studies.cifar10_sizes import SIZES
from benchmarks.studies.study import Study, make_parser, parse, run_study

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog',
           'horse', 'ship', 'truck')
ARMS = dict(
    scratch=None,
    scratch_long=None,
    classifier='hint_resnet18_resnet50-teacher_1xb128-200e_cifar10',
    fixed='repfusion-fixed_resnet18_1xb128-200e_cifar10',
    bank='repfusion-bank_resnet18_1xb128-200e_cifar10',
    uniform='repfusion-uniform_resnet18_1xb128-200e_cifar10',
    reinforced='repfusion_resnet18_1xb128-200e_cifar10',
    constant='repfusion-constant_resnet18_1xb128-200e_cifar10',
    contrastive='repfusion-contrastive_resnet18_1xb128-200e_cifar10')


def list_images(folder, out, train_per_class, val_per_class, test_per_class):
    """Write train.txt, val.txt and test.txt for ``CustomDataset``.

    Args:
        folder (str): With ``train/<class>/`` and ``test/<class>/``.
        out (Path): Where to.
        train_per_class (int): Training images of each class.
        val_per_class (int): Validation images of each class, the last ones
            of training.
        test_per_class (int): Test images of each class.

    Returns:
        str: All of it, as an input of the jobs.
    """
    lists = dict(train=[], val=[], test=[])
    for label, name in enumerate(CLASSES):
        found = {}
        for split in ('train', 'test'):
            found[split] = sorted(
                str(path.relative_to(folder))
                for path in Path(folder, split, name).glob('*')
                if path.suffix in ('.jpg', '.png'))
            least = val_per_class + 1 if split == 'train' else 1
            if len(found[split]) < least:
                raise SystemExit(
                    f'--data: {len(found[split])} images in {folder}/{split}/'
                    f'{name}, at least {least} are needed; expected '
                    'train/<class>/*.jpg and test/<class>/*.jpg')
        val = found['train'][-val_per_class:]
        train = found['train'][:-val_per_class][:train_per_class]
        for split, paths in (('train', train), ('val', val),
                             ('test', found['test'][:test_per_class])):
            lists[split] += [f'{path} {label}' for path in paths]
    out.mkdir(parents=True, exist_ok=True)
    for split, lines in lists.items():
        random.Random(0).shuffle(lines)
        (out / f'{split}.txt').write_text('\n'.join(lines))
    return str(lists)


class Cifar10(Study):
    """The jobs of one run."""
    name = 'cifar10'
    arms = ARMS
    left_out = ('bank', 'constant')
    choices = dict(fixed='fixed_t', bank='fixed_t')
    sizes = SIZES
    metric = 'accuracy'

    def __init__(self, args):
        size = self.sizes[args.size]
        lists = list_images(
            args.data, Path(args.out), size['images_per_class'],
            size['val_per_class'], size['test_per_class'])
        super().__init__(args, lists.encode())

    # --- configs ------------------------------------------------------------
    def loader(self, *args, **kwargs):
        """All images have one size, so that the workers can stack them."""
        return dict(super().loader(*args, **kwargs),
                    collate_fn=dict(type='default_collate'))

    def images(self, split, training):
        """Config of a data set of this study."""
        side = self.size['image_size']
        resize = [] if side == 32 else [
            dict(type='Resize', scale=side, interpolation='area')]
        augment = [
            dict(type='RandomCrop', crop_size=side, padding=side // 8),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ] if training else []
        return dict(
            type='CustomDataset', data_root=str(Path(self.args.data)),
            ann_file=self.annotations(split),
            metainfo=dict(classes=CLASSES),
            pipeline=[dict(type='LoadImageFromFile'), *resize, *augment,
                      dict(type='PackInputs')])

    def few(self, percent, part, seed):
        """The labelled or the unlabelled part of the training images."""
        per_class = self.size['images_per_class'] * percent // 100
        return dict(
            type='repfusion_mm.FewLabels', part=part, seed=seed,
            labels_per_class=None if percent == 100 else per_class,
            dataset=self.images('train', True))

    def num_images(self, percent):
        labelled = self.size['images_per_class'] * percent // 100
        return labelled, self.size['images_per_class'] - labelled

    def preprocess(self, cfg):
        for place in (cfg, cfg.model):  # files are read as BGR
            if 'data_preprocessor' in place:
                place.data_preprocessor.to_rgb = True

    def evaluation(self, split):
        return dict(
            test_dataloader=self.loader(self.images(split, False), 500, 0,
                                        infinite=False),
            test_evaluator=dict(type='Accuracy', topk=1))

    def score(self, metrics):
        return metrics['accuracy/top1']

    def best_choice(self, arm, percent):
        # a feature bank is compared with the same t without one
        return super().best_choice('fixed', percent)

    # --- jobs ---------------------------------------------------------------
    def dpm(self):
        """The diffusion model; returns its folder and the job's key."""
        budget = self.size['dpm']
        cfg = self.config(
            'dpm/unet_32px_cifar10.py', 'dpm',
            self.few(0, 'unlabelled', 0), 0,
            model=dict(denoiser=self.size['denoiser'], channel_order='bgr'),
            optim_wrapper=dict(clip_grad=dict(max_norm=1.)),
            custom_hooks=[dict(type='EMAHook', momentum=budget['ema']),
                          dict(type='repfusion_mm.DPMExportHook')])
        _, key = self.fit('dpm', 'dpm', cfg)
        return str(self.jobs / 'dpm' / 'dpm'), key

    def classifier(self, percent, seed):
        """The supervised teacher, on the same labels: config, weights, key."""
        change = copy.deepcopy(self.size['classifier'])
        model = dict(backbone=change, head=dict(
            in_channels=8 * change['base_channels'])) if change else {}
        cfg = self.config(
            'mmpretrain/resnet50_1xb128-200e_cifar10.py', 'finetune',
            self.few(percent, 'labelled', seed), seed, model=model)
        name = f'classifier_{percent}percent_seed{seed}'
        weights, key = self.fit(name, 'classifier', cfg)
        return str(self.jobs / name / f'{name}.py'), weights, key

    def distill(self, arm, percent, seed, choice=None):
        """Stage 1; returns the checkpoint and the key of the job."""
        dataset = self.mixture(percent, seed, self.labelled_share)
        model = dict(backbone=self.size['student'])
        if arm == 'classifier':
            path, weights, after = self.classifier(percent, seed)
            model['teacher'] = dict(model=path, checkpoint=weights,
                                    image_size=self.size['image_size'])
        else:
            folder, after = self.dpm()
            # as it was trained
            model['teacher'] = dict(pretrained=folder, input_range=(-1, 1),
                                    **self.size['teacher'])
            model['connections'] = [dict(
                student_tap='out.-1', teacher_tap=self.size['tap'],
                loss=dict(type='repfusion_mm.HintLoss', pool=True))]
        hooks = [dict(type='repfusion_mm.TimeSamplerHook')]
        if arm in ('reinforced', 'constant', 'contrastive'):
            model['time_sampler'] = dict(
                num_bins=self.size['num_bins'], entropy_weight=0.3)
            hooks = [dict(
                type='repfusion_mm.TimeSamplerHook',
                schedules=[dict(attribute='entropy_weight', end=0.)])]
        if arm in ('reinforced', 'constant'):
            model['reward'] = dict(hidden=())
        if arm in ('fixed', 'bank'):
            model['time_sampler'] = dict(t=choice)
        if arm == 'bank':  # one for all shares of labels and all seeds
            model['teacher'] = dict(
                teacher=model['teacher'], timesteps=[choice],
                bank=str(self.jobs / 'dpm' / f'bank_t{choice}'),
                dataset=dict(_delete_=True, **self.images('train', False)),
                channel_order='bgr')
        cfg = self.config(f'distill/{ARMS[arm]}.py', 'distill', dataset, seed,
                          model=model, custom_hooks=hooks)
        name = self.job_name('distill', arm, percent, seed, choice)
        return self.fit(name, 'distill', cfg, after=after)

    def finetune(self, arm, percent, seed, split='test', choice=None):
        """Stage 2 and its test; returns the accuracy in percent, by name."""
        changes, after, start, budget = {}, '', '', 'finetune'
        backbone = copy.deepcopy(self.size['student'])
        if arm == 'scratch_long':
            budget = 'both'
        elif arm != 'scratch':
            checkpoint, after = self.distill(arm, percent, seed, choice)
            backbone['init_cfg'] = dict(checkpoint=checkpoint)
            start = 'repfusion-init_'
        if self.size['student']:
            changes['model'] = dict(
                backbone=backbone,
                head=dict(in_channels=8 * backbone['base_channels']))
        else:
            changes['model'] = dict(backbone=backbone)
        cfg = self.config(
            f'mmpretrain/resnet18_{start}1xb128-200e_cifar10.py', budget,
            self.few(percent, 'labelled', seed), seed, **changes)
        name = self.job_name('finetune', arm, percent, seed, choice) + \
            f'_{split}'
        (scores, weights), _ = self.fit(name, 'finetune', cfg, split, after)
        shutil.rmtree(Path(weights).parent, ignore_errors=True)
        return scores


def parse_args(argv=None):
    return parse(make_parser(
        __doc__, Cifar10,
        ('data/cifar10_images', 'folder with train/<class>/*.jpg (or .png) '
         'and test/<class>/'), [1, 10, 100]), argv)


if __name__ == '__main__':
    run_study(parse_args(), Cifar10)
