"""RepFusion and its baselines on CamVid: segmentation with few masks.

A diffusion model is trained on the training images, without masks, or taken
from --dpm. Tap, fixed t, learning rates and lengths are chosen on the
validation images, as on CIFAR-10, for the fewest masks, by a seed that is not
reported. For each number of masks and each seed a BiSeNetV1 is trained: from
scratch, from scratch with the steps of both stages, from a backbone that was
distilled by each arm, and distilled while it is trained. All arms of a seed
see the same masks; a stage 1 that reads none is run once a seed.

It is tested on the official test images, and on those of the sequence Seq05VD
alone: the others, of 0001TP, neighbour training images of the same sequence.
Everything runs from the public configs; finished jobs are kept in <out>/jobs
and not run again, nor are those whose scores are among benchmarks/results.
"""
from pathlib import Path

from benchmarks.lib.paired import Criterion
from benchmarks.studies.dense_study import FULL, SMALL, TOY, DenseStudy
from benchmarks.studies.run import run_study
from benchmarks.studies.study import make_parser
from benchmarks.studies.task_study import parse

CLASSES = ('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign',
           'fence', 'car', 'pedestrian', 'bicyclist')
PALETTE = [[128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128],
           [60, 40, 222], [128, 128, 0], [192, 128, 128], [64, 64, 128],
           [64, 0, 128], [64, 64, 0], [0, 128, 192]]
NEW_SEQUENCE = 'Seq05VD'
# half of the images' 240x180 pixels, half of BiSeNetV1's channels; few masks
# want small learning rates
HALF = dict(SMALL, scale=(120, 90), crop=64, width=0.5,
            lrs=(1.7e-4, *SMALL['lrs']))
SIZES = dict(
    small=HALF,
    # the denoiser is trained on crops of the student's images as they are,
    # and looks at these whole
    fine=dict(HALF, teacher=dict(HALF['teacher'], image_size=HALF['crop']),
              dpm=dict(HALF['dpm'], iters=3000)),
    full=dict(FULL, scale=(240, 180), crop=128, width=1),
    toy=dict(TOY, scale=(120, 90), crop=64, width=0.125))
CRITERIA = (
    Criterion('reinforced', ('scratch', 'scratch_long'), 0.),
    Criterion('reinforced', ('fixed', ), -1.5))


class CamVid(DenseStudy):
    """The jobs of one run."""
    name = 'camvid'
    sizes = SIZES
    metric = 'mIoU'
    labels_of = 'masks'
    criteria = CRITERIA
    libraries = ('mmseg', )
    student_path = 'backbone.context_path.backbone'
    student_key = 'backbone.backbone_cfg'
    configs = dict(
        scratch='mmseg/bisenetv1-r18_2xb8-160k_celebamask-hq-448x448.py',
        init='mmseg/bisenetv1-r18_repfusion-init_2xb8-160k_celebamask-hq-'
        '448x448.py',
        joint='joint/joint-repfusion_bisenetv1-r18_2xb8-160k_celebamask-hq-'
        '448x448.py',
        distill='distill/repfusion-segmentation_resnet18_celebahq.py')

    def __init__(self, args):
        lists = list_images(args.data, Path(args.out))
        super().__init__(args, str(lists).encode())
        self.num_train = len(lists['train'])

    # --- data ---------------------------------------------------------------
    def images(self, split, training, augmented=True):
        crop = [dict(type='RandomCrop', crop_size=(self.size['crop'], ) * 2),
                dict(type='RandomFlip', prob=0.5)] if augmented else []
        resize = dict(type='Resize', scale=self.size['scale'],
                      keep_ratio=False)
        load = dict(type='LoadAnnotations')
        return dict(
            type='BaseSegDataset', data_root=str(Path(self.args.data)),
            ann_file=self.annotations(split),
            data_prefix=dict(img_path='images', seg_map_path='annotations'),
            metainfo=dict(classes=CLASSES, palette=PALETTE),
            pipeline=[
                dict(type='LoadImageFromFile'),
                # masks are tested at their own size
                *([load, resize, *crop] if training else [resize, load]),
                dict(type='PackSegInputs')])

    def unlabelled_images(self):
        side = self.size['denoiser']['sample_size']
        seen = self.size['teacher'].get('image_size', side)
        scale = tuple(length * seen // self.size['crop']
                      for length in self.size['scale'])
        return dict(
            type='CustomDataset',
            data_root=str(Path(self.args.data, 'images')),
            ann_file=self.annotations('unlabelled'), with_label=False,
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=scale, interpolation='area'),
                dict(type='RandomCrop', crop_size=side),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                dict(type='PackInputs')])

    # --- the task -----------------------------------------------------------
    def task(self, cfg, path):
        crop = (self.size['crop'], ) * 2
        for place in (cfg, cfg.model):
            if place.get('data_preprocessor'):
                place.data_preprocessor.size = crop
        if not path:
            return
        model = cfg.model.task if path.endswith('task') else cfg.model
        for head in (model.decode_head, *model.auxiliary_head):
            head.num_classes = len(CLASSES)
            for key in ('in_channels', 'channels'):
                head[key] = int(head[key] * self.size['width'])
        for key in ('context_channels', 'spatial_channels'):
            model.backbone[key] = tuple(
                int(width * self.size['width'])
                for width in model.backbone[key])
        model.backbone.out_channels = model.decode_head.in_channels

    def evaluation(self, split):
        return dict(
            test_dataloader=self.loader(self.images(split, False), 16, 0,
                                        infinite=False),
            test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']))

    def parts(self, split):
        parts = {self.metric: split}
        if split == 'test':
            parts[f'mIoU of {NEW_SEQUENCE}'] = 'new_sequence'
        return parts

    def score(self, metrics):
        return metrics['mIoU']

    def with_truth(self, columns):
        """mmseg draws the truth to the left of the prediction."""
        first = next(iter(columns.values()))
        halves = {arm: [image[:, image.shape[1] // 2:] for image in images]
                  for arm, images in columns.items()}
        return dict(truth=[image[:, :image.shape[1] // 2] for image in first],
                    **halves)


def list_images(folder, out):
    """Write the lists of images of each split, for the data sets.

    Args:
        folder (str): With ``images/{train,val,test}/*.jpg`` and
            ``annotations/{train,val,test}/*.png``.
        out (Path): Where to.

    Returns:
        dict[str, list]: Names by split.
    """
    lists = {}
    for split in ('train', 'val', 'test'):
        names = sorted(path.stem for path in
                       Path(folder, 'images', split).glob('*.jpg'))
        masks = {path.stem for path in
                 Path(folder, 'annotations', split).glob('*.png')}
        missing = [name for name in names if name not in masks]
        if not names or missing:
            raise SystemExit(
                f'--data: {folder} has {len(names)} images in images/{split}'
                + (f', and no mask for {missing[0]}' if missing else '')
                + '; expected images/{train,val,test}/*.jpg and '
                'annotations/{train,val,test}/*.png of the same names')
        lists[split] = [f'{split}/{name}' for name in names]
    lists['new_sequence'] = [name for name in lists['test']
                             if name.split('/')[1].startswith(NEW_SEQUENCE)]
    step = max(1, len(lists['new_sequence']) // 4)
    lists['pictures'] = lists['new_sequence'][step // 2::step][:4]
    lists['unlabelled'] = [f'{name}.jpg' for name in lists['train']]
    out.mkdir(parents=True, exist_ok=True)
    for split, names in lists.items():
        (out / f'{split}.txt').write_text('\n'.join(names))
    return lists


def parse_args(argv=None):
    return parse(make_parser(
        __doc__, CamVid,
        ('data/camvid', 'folder with images/{train,val,test}/*.jpg and '
         'annotations/{train,val,test}/*.png of class ids 0 to 10, 255 where '
         'unlabelled'), [12, 23]), argv)


if __name__ == '__main__':
    run_study(parse_args(), CamVid, CamVid.pictures)
