"""RepFusion and its baselines on faces: 68 landmarks from few annotations.

A diffusion model is trained on the training images, without landmarks, or
taken from --dpm. Tap, fixed t, learning rates and lengths are chosen on the
validation images, as on CIFAR-10, for the fewest annotations, by a seed that
is not reported. For each number of annotated images and each seed heatmaps on
a ResNet-18 are trained: from scratch, from scratch with the steps of both
stages, from a backbone that was distilled by each arm, and distilled while it
is trained. All arms of a seed see the same annotations; a stage 1 that reads
none is run once a seed.

No person is in two of the three splits; validation takes the last tenth of the
training's. The error is the NME, in percent of the distance between the outer
corners of the eyes: lower is better. Everything runs from the public configs;
finished jobs are kept in <out>/jobs and not run again, nor are those whose
scores are among benchmarks/results.
"""
import json
from pathlib import Path

from benchmarks.lib.paired import Criterion
from benchmarks.studies.dense_study import FULL, SMALL, TOY, DenseStudy
from benchmarks.studies.run import run_study
from benchmarks.studies.study import make_parser
from benchmarks.studies.task_study import parse

NUM_KEYPOINTS = 68
_HEATMAPS = dict(type='MSRAHeatmap', input_size=(64, 64),
                 heatmap_size=(32, 32), sigma=1.5)
SIZES = dict(
    small=dict(SMALL, codec=_HEATMAPS, head_channels=64),
    full=dict(FULL, codec=dict(_HEATMAPS, input_size=(128, 128), sigma=2),
              head_channels=256),
    toy=dict(TOY, codec=_HEATMAPS, head_channels=8))
CRITERIA = (
    Criterion('reinforced', ('scratch', 'scratch_long'), 0.),
    Criterion('reinforced', ('fixed', ), -3., relative=True))


class Faces(DenseStudy):
    """The jobs of one run."""
    name = 'faces'
    sizes = SIZES
    metric = 'NME'
    higher_is_better = False
    labels_of = 'annotated faces'
    criteria = CRITERIA
    libraries = ('mmpose', )
    student_path = 'backbone'
    student_key = 'backbone'
    configs = dict(
        scratch='mmpose/resnet50_8xb64-60e_wflw-256x256.py',
        init='mmpose/resnet50_repfusion-init_8xb64-60e_wflw-256x256.py',
        joint='joint/joint-repfusion_resnet50_8xb64-60e_wflw-256x256.py',
        distill='distill/repfusion-keypoints_resnet50_celebahq-wflw.py')

    def __init__(self, args):
        splits = list_images(args.data, Path(args.out))
        super().__init__(args, json.dumps(splits).encode())
        self.num_train = len(splits['train']['images'])

    # --- data ---------------------------------------------------------------
    def annotations(self, split):
        return str((self.out / f'{split}.json').absolute())

    def images(self, split, training, augmented=True):
        augment = [
            dict(type='RandomFlip', direction='horizontal'),
            dict(type='RandomBBoxTransform', shift_prob=0, rotate_factor=60,
                 scale_factor=(0.75, 1.25)),
        ] if training and augmented else []
        target = [dict(type='GenerateTarget', encoder=self.size['codec'])] \
            if training else []
        return dict(
            type='CocoDataset', data_root=str(Path(self.args.data)),
            data_mode='topdown', ann_file=self.annotations(split),
            data_prefix=dict(img='images/'), test_mode=not training,
            metainfo=dict(from_file='configs/_base_/datasets/300w.py'),
            pipeline=[
                dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
                *augment,
                dict(type='TopdownAffine',
                     input_size=self.size['codec']['input_size']),
                *target,
                dict(type='PackPoseInputs', pack_transformed=training)])

    def unlabelled_images(self):
        side = self.size['denoiser']['sample_size']
        return dict(
            type='CustomDataset',
            data_root=str(Path(self.args.data, 'images')),
            ann_file=str((self.out / 'unlabelled.txt').absolute()),
            with_label=False,
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='RandomResizedCrop', scale=side,
                     crop_ratio_range=(0.4, 1.0), interpolation='area',
                     aspect_ratio_range=(1., 1.)),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                dict(type='PackInputs')])

    # --- the task -----------------------------------------------------------
    def task(self, cfg, path):
        if not path:
            return
        model = cfg.model.task if path.endswith('task') else cfg.model
        model.head.update(
            in_channels=8 * self.size['student'].get('base_channels', 64),
            out_channels=NUM_KEYPOINTS, decoder=self.size['codec'],
            deconv_out_channels=(self.size['head_channels'], ) * 3,
            deconv_kernel_sizes=(4, 4, 4))
        cfg.visualizer.update(radius=1, backend='matplotlib')
        cfg.default_hooks.visualization.kpt_thr = 0.  # all, however unsure

    def evaluation(self, split):
        return dict(
            test_dataloader=self.loader(self.images(split, False), 32, 0,
                                        infinite=False),
            test_evaluator=dict(type='NME', norm_mode='keypoint_distance'))

    def score(self, metrics):
        return 100 * metrics['NME']

    def with_truth(self, columns):
        import cv2
        coco = json.loads(Path(self.annotations('pictures')).read_text())
        points = {one['image_id']: one['keypoints']
                  for one in coco['annotations']}
        truth = []
        for image in sorted(coco['images'], key=lambda one: one['file_name']):
            drawn = cv2.imread(str(Path(self.args.data, 'images',
                                        image['file_name'])))
            for x, y in zip(points[image['id']][::3],
                            points[image['id']][1::3]):
                cv2.circle(drawn, (round(x), round(y)), 1, (0, 255, 0), -1)
            truth.append(drawn[..., ::-1])
        return dict(truth=truth, **columns)


def list_images(folder, out):
    """Write the annotations of each split, for the data sets.

    Args:
        folder (str): With ``images/`` and COCO keypoint files
            ``annotations/{train,test}.json`` that name each image's
            ``identity``.
        out (Path): Where to.

    Returns:
        dict[str, dict]: COCO annotations by split.
    """
    found = {}
    for split in ('train', 'test'):
        path = Path(folder, 'annotations', f'{split}.json')
        if not path.exists():
            raise SystemExit(
                f'--data: there is no {path}; expected images/ and '
                'annotations/{train,test}.json with 68 keypoints')
        found[split] = json.loads(path.read_text())
        for image in found[split]['images']:
            if 'identity' not in image:
                raise SystemExit(f'--data: {image["file_name"]} in {path} has '
                                 'no `identity`, by which faces are split')
    people = sorted({image['identity'] for image in found['train']['images']})
    held_out = set(people[-len(people) // 10:])
    splits = dict(
        train=_subset(found['train'], lambda image, _:
                      image['identity'] not in held_out),
        val=_subset(found['train'], lambda image, _:
                    image['identity'] in held_out),
        test=found['test'])
    step = max(1, len(found['test']['images']) // 4)
    splits['pictures'] = _subset(found['test'], lambda _, index:
                                 index % step == step // 2)
    out.mkdir(parents=True, exist_ok=True)
    for split, annotations in splits.items():
        (out / f'{split}.json').write_text(json.dumps(annotations))
    (out / 'unlabelled.txt').write_text('\n'.join(
        image['file_name'] for image in splits['train']['images']))
    return splits


def _subset(annotations, chosen):
    images = [image for index, image in enumerate(annotations['images'])
              if chosen(image, index)]
    ids = {image['id'] for image in images}
    return dict(annotations, images=images, annotations=[
        one for one in annotations['annotations'] if one['image_id'] in ids])


def parse_args(argv=None):
    return parse(make_parser(
        __doc__, Faces,
        ('data/faces', 'folder with images/ and COCO keypoint files '
         'annotations/{train,test}.json that name each image\'s `identity`'),
        [27, 54]), argv)


if __name__ == '__main__':
    run_study(parse_args(), Faces, Faces.pictures)
