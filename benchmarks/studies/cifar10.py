"""RepFusion and its baselines on CIFAR-10, with few and with all labels.

A diffusion model is trained on the training images, without labels, or taken
from --dpm. Before all arms the tap is chosen by will_it_pay, with the labels
of a seed that is not reported; the fixed t, by a linear probe and by trials of
its first ones, and for scratch and distilled alike the learning rate and the
length of the fine-tuning, on validation images, by the same seed. Then for
each seed and number of labels a backbone is distilled by each arm, fine-tuned
on the labelled images and tested on the official test images. All arms of a
seed see the same labels, and all distilled ones have the same budget; a stage
1 that reads no labels is run once a seed.

Everything runs from the public configs, from a feature bank of 20 time bins;
finished jobs are kept in <out>/jobs and not run again, nor are those whose
scores are among benchmarks/results.
"""
import copy
import functools
import os
import random
from pathlib import Path

import numpy as np

from benchmarks.lib import image_array  # noqa: F401, registers it
from benchmarks.lib.paired import Criterion
from benchmarks.studies.cifar10_sizes import SIZES
from benchmarks.studies.run import run_study
from benchmarks.studies.study import (
    BIN,
    MIDDLES,
    Study,
    make_parser,
    settled_policy,
)
from benchmarks.studies.task_study import SELECTION_SEED, parse
from benchmarks.studies.teacher_jobs import FilledBank
from benchmarks.studies.training import Training

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog',
           'horse', 'ship', 'truck')
ARMS = dict(
    scratch=None,
    scratch_long=None,
    t0='repfusion-fixed_resnet18_1xb128-200e_cifar10',
    uniform='repfusion-uniform_resnet18_1xb128-200e_cifar10',
    fixed='repfusion-fixed_resnet18_1xb128-200e_cifar10',
    auto='repfusion-fixed_resnet18_1xb128-200e_cifar10',
    reinforced='repfusion_resnet18_1xb128-200e_cifar10',
    constant='repfusion-constant_resnet18_1xb128-200e_cifar10',
    classifier='hint_resnet18_resnet50-teacher_1xb128-200e_cifar10')
CRITERIA = (
    Criterion('reinforced', ('scratch', 'scratch_long'), 3.),
    Criterion('reinforced', ('fixed', ), -1.))


def write_images(folder, out, image_size, train_per_class, val_per_class,
                 test_per_class):
    """Decode the images once: train.npz, val.npz and test.npz.

    Args:
        folder (str): With ``train/<class>/`` and ``test/<class>/``.
        out (Path): Where to.
        image_size (int): To which they are resized, in pixels.
        train_per_class (int): Training images of each class.
        val_per_class (int): Validation images of each class, the last ones
            of training.
        test_per_class (int): Test images of each class.

    Returns:
        str: What was taken, as an input of the jobs.
    """
    splits = dict(train=[], val=[], test=[])
    for label, name in enumerate(CLASSES):
        found = {}
        for split in ('train', 'test'):
            found[split] = sorted(
                path for path in Path(folder, split, name).glob('*')
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
            splits[split] += [(path, label) for path in paths]
    for pairs in splits.values():
        random.Random(0).shuffle(pairs)
    text = str({split: [(path.relative_to(folder).as_posix(), label)
                        for path, label in pairs]
                for split, pairs in splits.items()})
    mark, decoded = out / 'decoded.txt', f'{image_size} pixels\n{text}'
    if not (mark.exists() and mark.read_text() == decoded):
        for split, pairs in splits.items():  # processes may do so at once
            _decode(pairs, image_size, out / f'{split}.npz')
        mark.write_text(decoded)
    return text


def _decode(pairs, size, file):
    import cv2
    images = [cv2.imread(str(path))[..., ::-1] for path, _ in pairs]
    images = np.stack([
        image if image.shape[:2] == (size, size) else
        cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        for image in images])
    part = file.with_name(f'{file.stem}.{os.getpid()}.npz')  # its own
    np.savez(part, images=images, labels=[label for _, label in pairs])
    part.rename(file)


class Cifar10(Study):
    """The jobs of one run."""
    name = 'cifar10'
    arms = ARMS
    left_out = ('constant', 'classifier')
    needs_labels = ('auto', 'reinforced', 'constant', 'classifier')
    labels_of = 'images of each class'
    sizes = SIZES
    metric = 'accuracy'
    criteria = CRITERIA

    def __init__(self, args):
        size = self.sizes[args.size]
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        images = write_images(
            args.data, out, size['image_size'], size['images_per_class'],
            size['val_per_class'], size['test_per_class'])
        super().__init__(args, images.encode())

    # --- configs ------------------------------------------------------------
    def loader(self, *args, **kwargs):
        """All images have one size, so that they can be stacked at once."""
        return dict(super().loader(*args, **kwargs),
                    collate_fn=dict(type='default_collate'))

    def annotations(self, split):
        return str((self.out / f'{split}.npz').absolute())

    def images(self, split, training):
        """Config of a data set of this study."""
        side = self.size['image_size']
        augment = [
            dict(type='RandomCrop', crop_size=side, padding=side // 8,
                 padding_mode='reflect'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ] if training else []
        return dict(
            type='repfusion_mm.ImageArray', ann_file=self.annotations(split),
            metainfo=dict(classes=CLASSES),
            pipeline=[*augment, dict(type='PackInputs')])

    def few(self, labels, part, seed):
        """The labelled or the unlabelled part of the training images."""
        return dict(
            type='repfusion_mm.FewLabels', part=part, seed=seed,
            labels_per_class=None if labels == 'all' else labels,
            dataset=self.images('train', True))

    def num_images(self, labels):
        total = self.size['images_per_class']
        labels = total if labels == 'all' else labels
        return labels, total - labels

    def preprocess(self, cfg):
        for place in (cfg, cfg.model):  # the images are RGB already
            if 'data_preprocessor' in place:
                place.data_preprocessor.to_rgb = False

    def evaluation(self, split):
        return dict(
            test_dataloader=self.loader(self.images(split, False), 500, 0,
                                        infinite=False),
            test_evaluator=dict(type='Accuracy', topk=1))

    def score(self, metrics):
        return metrics['accuracy/top1']

    def val_images(self):
        """They are seen as they are."""
        return self.images('val', False)

    # --- jobs ---------------------------------------------------------------
    def dpm_config(self):
        budget = self.size['dpm']
        return self.config(
            'dpm/unet_32px_cifar10.py', 'dpm', self.few(0, 'unlabelled', 0),
            0, model=dict(denoiser=self.size['denoiser'],
                          channel_order='rgb'),
            optim_wrapper=dict(clip_grad=dict(max_norm=1.)),
            custom_hooks=[dict(type='EMAHook', momentum=budget['ema']),
                          dict(type='repfusion_mm.DPMExportHook')])

    def distillation(self, arm, labels, seed, t=None, tap=None):
        """The config of stage 1, from a diffusion model."""
        tap = tap or self.tap['tap']
        if labels is None:
            dataset = self.few(0, 'unlabelled', 0)
        else:
            dataset = self.mixture(labels, seed, self.labelled_share)
        teacher = dict(
            pretrained=self.dpm.weights, input_range=(-1, 1),
            image_size=self.size['image_size'], **self.size['teacher'])
        model = dict(
            backbone=self.size['student'], **self.size['student_switches'],
            teacher=teacher, connections=[dict(
                student_tap='out.-1', teacher_tap=tap,
                loss=dict(type='repfusion_mm.HintLoss', pool=True))])
        hooks, optim_wrapper = [dict(type='repfusion_mm.TimeSamplerHook')], {}
        if arm == 'reinforced':
            changes, optim_wrapper = settled_policy()
            model.update(changes)
        elif arm == 'constant':  # it searches by itself
            model['time_sampler'] = dict(
                num_bins=len(MIDDLES), entropy_weight=0.3)
            model['reward'] = dict(hidden=())
            hooks[0]['schedules'] = [dict(attribute='entropy_weight', end=0.)]
        elif arm == 'auto':
            model['time_sampler'] = dict(t='auto')
        elif t is not None:
            model['time_sampler'] = dict(t=t)
        return self.config(f'distill/{ARMS[arm]}.py', 'distill', dataset,
                           seed, model=model, custom_hooks=hooks,
                           optim_wrapper=optim_wrapper)

    def _from_bank(self, cfg):
        """The same, its teacher's features from a bank of what is drawn."""
        is_zero = cfg.model.time_sampler.get('t') == 0
        stored = [0] if is_zero else MIDDLES
        tap = cfg.model.connections[0].teacher_tap
        cfg.model.teacher = dict(
            type='repfusion_mm.BankedTeacher',
            teacher=cfg.model.teacher.to_dict(), timesteps=stored,
            bin_width=1 if is_zero else BIN, channel_order='rgb',
            bank=str(self.jobs / f'bank_{tap}_{len(stored)}'),
            dataset=self.images('train', False))
        return cfg

    def _classifier(self, labels, seed):
        """The supervised teacher, on the same labels."""
        change = copy.deepcopy(self.size['classifier'])
        model = dict(backbone=change, head=dict(
            in_channels=8 * change['base_channels'])) if change else {}
        cfg = self.config(
            'mmpretrain/resnet50_1xb128-200e_cifar10.py', 'finetune',
            self.few(labels, 'labelled', seed), seed, model=model)
        return Training(self, f'classifier_{labels}labels_seed{seed}',
                        'classifier', cfg)

    @functools.cached_property
    def _filled_bank(self):
        """The bank of the time bins, for all that draws from it."""
        cfg = self._from_bank(self.distillation(
            'uniform', None, SELECTION_SEED))
        return FilledBank(self, 'bank', cfg, self.dpm)

    def distill(self, arm, labels, seed, t=None):
        """Stage 1."""
        if arm == 'classifier':
            before = self._classifier(labels, seed)
            cfg = self.config(
                f'distill/{ARMS[arm]}.py', 'distill',
                self.mixture(labels, seed, self.labelled_share), seed,
                model=dict(
                    backbone=self.size['student'], teacher=dict(
                        model=str(before.folder / f'{before.name}.py'),
                        checkpoint=before.weights,
                        image_size=self.size['image_size'])))
            return self.stage_1(arm, labels, seed, t, cfg, before)
        at = 0 if arm == 't0' else t
        cfg = self._from_bank(self.distillation(arm, labels, seed, at))
        return self.stage_1(
            arm, labels, seed, t, cfg, self._filled_bank
            if self.args.fill and at != 0 else self.dpm)

    def start_from(self, labels, seed, budget, first):
        backbone, start = copy.deepcopy(self.size['student']), ''
        if first is not None:
            backbone['init_cfg'] = dict(checkpoint=first.weights)
            start = 'repfusion-init_'
        model = dict(backbone=backbone)
        if self.size['student']:
            model['head'] = dict(in_channels=8 * backbone['base_channels'])
        return self.config(
            f'mmpretrain/resnet18_{start}1xb128-200e_cifar10.py', budget,
            self.few(labels, 'labelled', seed), seed, model=model)


def parse_args(argv=None):
    parser = make_parser(
        __doc__, Cifar10,
        ('data/cifar10_images', 'folder with train/<class>/*.jpg (or .png) '
         'and test/<class>/'), [10, 48])
    parser.add_argument('--fill', action='store_true', help='compute all of '
                        'the feature bank first, which a GPU does in a '
                        'minute')
    return parse(parser, argv)


if __name__ == '__main__':
    run_study(parse_args(), Cifar10)
