import numpy as np
import torch
from PIL import Image

from repfusion_mm.analysis.looked_images import draw_images, view_images
from repfusion_mm.models.rewards.targets import read_targets
from repfusion_mm.models.utils.raw_images import RawImage
from repfusion_mm.registry import DATASETS, MODELS

CROP = [dict(type='mmpretrain.RandomCrop', crop_size=16, padding=4),
        dict(type='mmpretrain.PackInputs')]


def mixture():
    parts = [dict(type='repfusion_mm.FewLabels', labels_per_class=1,
                  part=part, dataset=dict(
                      type='repfusion_mm.Digits', split='val', pipeline=CROP))
             for part in ('unlabelled', 'labelled')]
    return DATASETS.build(dict(type='ConcatDataset', datasets=[
        parts[0], dict(type='RepeatDataset', dataset=parts[1], times=7)]))


def test_each_image_once():
    dataset = mixture()
    indices = draw_images(dataset, 100)
    images = {dataset.get_data_info(i)['img'].tobytes() for i in indices}
    labels = [dataset.get_data_info(i)['gt_label'] for i in indices]
    assert len(images) == len(indices) == 10
    assert sorted(labels) == list(range(10))
    assert len(draw_images(dataset, 4)) == 4
    assert len(draw_images(dataset, 1000, labelled=False)) == 200


def test_what_is_labelled():

    class Infos(list):

        def get_data_info(self, index):
            return dict(self[index], img_path=f'{index}.png')

    infos = Infos([
        dict(gt_label=0), dict(gt_label=-1), dict(gt_label=[]), dict(),
        dict(gt_score=np.array([0., 1.])), dict(gt_score=np.array([-1., 0])),
        dict(keypoints_visible=np.zeros((1, 3))),
        dict(keypoints_visible=np.array([[0, 2]])),
        dict(seg_map_path='a.png'),
        dict(seg_map_path='a.png', unlabelled=True)])
    assert sorted(draw_images(infos, 100)) == [0, 2, 4, 7, 8]


def test_an_image_of_several_instances_is_one():

    class Infos(list):

        def get_data_info(self, index):
            return dict(gt_label=0, img_path=self[index])

    assert len(draw_images(Infos(['a', 'b', 'a', 'c', 'b']), 100)) == 3


def test_views():
    dataset = mixture()
    indices = draw_images(dataset, 6)
    preprocessor = MODELS.build(dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[100.] * 3,
        std=[50.] * 3, num_classes=10, batch_augments=dict(
            augments=dict(type='mmpretrain.Mixup', alpha=1.))))
    augments = preprocessor.batch_augments
    found = view_images(dataset, indices, 3, preprocessor, RawImage())
    assert preprocessor.batch_augments is augments
    assert found.images.shape == (6, 3, 3, 16, 16)
    assert found.images.dtype == torch.uint8 and found.indices == indices
    for i, index in enumerate(indices):
        whole = dataset.get_data_info(index)
        padded = np.pad(whole['img'], ((4, 4), (4, 4), (0, 0)))
        shown = [found.images[i, v].permute(1, 2, 0).numpy()
                 for v in range(3)]
        crops = {padded[y:y + 16, x:x + 16].tobytes()
                 for x in range(9) for y in range(9)}
        assert all(one.tobytes() in crops for one in shown)
        assert any((one != shown[0]).any() for one in shown)
        for sample in found.data_samples[3 * i:3 * i + 3]:
            assert sample.gt_label == whole['gt_label']
    # it gives scores beside the labels, which are single ones still
    assert 'gt_score' in found.data_samples[0]
    targets = read_targets(found.data_samples, (16, 16), (4, 2, 2),
                           num_classes=10)
    assert targets.kind == 'class' and targets.values.shape == (18, 1, 10)


def test_no_label_after_all():
    dataset = mixture()
    unlabelled = draw_images(dataset, 300, labelled=False)[:30]
    preprocessor = MODELS.build(dict(type='mmpretrain.ClsDataPreprocessor'))
    found = view_images(dataset, unlabelled, 1, preprocessor, RawImage())
    kept = [i for i in unlabelled if dataset.get_data_info(i)['gt_label'] >= 0]
    assert found is None if not kept else found.indices == kept
    assert len(view_images(dataset, unlabelled, 1, preprocessor, RawImage(),
                           labelled=False).indices) == 30


def test_views_of_a_bad_image(tmp_path):
    """They would be of other images each: it is left out."""
    for index in range(20):
        Image.new('RGB', (16, 16), (0, 0, 10 * index)).save(
            tmp_path / f'{index:02}.png')
    for index in (3, 7):
        (tmp_path / f'{index:02}.png').write_bytes(b'')
    dataset = DATASETS.build(dict(
        type='mmpretrain.CustomDataset', data_root=str(tmp_path),
        with_label=False, pipeline=[
            dict(type='repfusion_mm.LoadCheckedImage', bad_images='skip'),
            dict(type='mmpretrain.PackInputs')]))
    preprocessor = MODELS.build(dict(type='mmpretrain.ClsDataPreprocessor'))
    found = view_images(dataset, range(20), 4, preprocessor,
                        RawImage('bgr'), labelled=False)
    assert found.indices == [i for i in range(20) if i not in (3, 7)]
    for index, views in zip(found.indices, found.images):
        assert (views[:, 2] == 10 * index).all()
