"""FewLabels around the data sets of mmseg and mmpose."""
import json

import cv2
import numpy as np
import pytest
import torch

from repfusion_mm.models.labels import labelled_mask
from repfusion_mm.registry import DATASETS

COUNT, SIDE = 8, 16


@pytest.fixture
def masks(tmp_path):
    """Config of a data set of mmseg, whose masks have some ignored pixels."""
    pytest.importorskip('mmseg')
    rng = np.random.default_rng(0)
    for name in ('images', 'masks'):
        (tmp_path / name).mkdir()
    for index in range(COUNT):
        mask = rng.integers(0, 3, (SIDE, SIDE), dtype=np.uint8)
        mask[0] = 255
        cv2.imwrite(str(tmp_path / f'masks/{index}.png'), mask)
        cv2.imwrite(str(tmp_path / f'images/{index}.jpg'),
                    rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    return dict(
        type='mmseg.BaseSegDataset', data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=('a', 'b', 'c'),
                      palette=[[0] * 3, [1] * 3, [2] * 3]),
        pipeline=[dict(type='mmseg.LoadImageFromFile'),
                  dict(type='mmseg.LoadAnnotations'),
                  dict(type='mmseg.PackSegInputs')])


@pytest.fixture
def keypoints(tmp_path):
    """Config of a data set of mmpose; a keypoint is hidden on each image."""
    pytest.importorskip('mmpose')
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for index in range(COUNT):
        cv2.imwrite(str(tmp_path / f'images/{index}.jpg'),
                    rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    (tmp_path / 'points.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.jpg', width=SIDE, height=SIDE)
                for i in range(COUNT)],
        annotations=[dict(
            id=i, image_id=i, category_id=1, iscrowd=0, area=SIDE**2,
            bbox=[0, 0, SIDE, SIDE], num_keypoints=3,
            keypoints=[3, 4, 2, 10, 8, 2, 0, 0, 0]) for i in range(COUNT)],
        categories=[dict(id=1, name='dots', skeleton=[],
                         keypoints=['a', 'b', 'c'])])))
    codec = dict(type='MSRAHeatmap', input_size=(16, 16),
                 heatmap_size=(8, 8), sigma=1)
    return dict(
        type='mmpose.CocoDataset', data_root=str(tmp_path),
        data_mode='topdown', ann_file='points.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(
            dataset_name='dots', paper_info={}, skeleton_info={},
            keypoint_info={i: dict(name=name, id=i, color=[0] * 3, type='',
                                   swap='') for i, name in enumerate('abc')},
            joint_weights=[1.] * 3, sigmas=[0.05] * 3),
        pipeline=[
            dict(type='mmpose.LoadImage'),
            dict(type='mmpose.GetBBoxCenterScale'),
            dict(type='mmpose.TopdownAffine', input_size=(16, 16)),
            dict(type='mmpose.GenerateTarget', encoder=codec),
            dict(type='mmpose.PackPoseInputs', pack_transformed=True)])


def part(dataset, name, num_labelled=3, seed=0):
    return DATASETS.build(dict(
        type='repfusion_mm.FewLabels', dataset=dataset, part=name,
        num_labelled=num_labelled, seed=seed))


def paths(dataset):
    return [dataset.get_data_info(i)['img_path']
            for i in range(len(dataset))]


@pytest.mark.parametrize('kind', ['masks', 'keypoints'])
def test_partition(kind, request):
    dataset = request.getfixturevalue(kind)
    one, two = part(dataset, 'labelled'), part(dataset, 'unlabelled')
    assert (len(one), len(two)) == (3, 5)
    assert len(set(paths(one) + paths(two))) == COUNT
    assert paths(one) == paths(part(dataset, 'labelled'))
    draws = {tuple(paths(part(dataset, 'labelled', seed=seed)))
             for seed in range(5)}
    assert len(draws) > 1


@pytest.mark.parametrize('kind', ['masks', 'keypoints'])
def test_what_the_model_is_told(kind, request):
    dataset = request.getfixturevalue(kind)
    for name, wanted in (('labelled', True), ('unlabelled', False)):
        few = part(dataset, name)
        samples = [few[i]['data_samples'] for i in range(len(few))]
        assert labelled_mask(samples).tolist() == [wanted] * len(few)


def test_masks(masks):
    few = part(masks, 'labelled')
    for index in range(len(few)):
        path = few.get_data_info(index)['seg_map_path']
        mask = few[index]['data_samples'].gt_sem_seg.data
        assert np.array_equal(mask[0], cv2.imread(path, 0))
    hidden = part(masks, 'unlabelled')[0]['data_samples'].gt_sem_seg.data
    assert hidden.shape == (1, SIDE, SIDE) and (hidden == 255).all()


def test_keypoints(keypoints):
    shown = part(keypoints, 'labelled')[0]['data_samples']
    weights = shown.gt_instance_labels.keypoint_weights
    assert weights.tolist() == [[1., 1., 0.]]
    hidden = part(keypoints, 'unlabelled')[0]['data_samples']
    assert not hidden.gt_instance_labels.keypoint_weights.any()
    # to a check before training, too, which draws no image
    few = part(keypoints, 'unlabelled')
    assert not few.get_data_info(0)['keypoints_visible'].any()
    # nothing is lost underneath
    assert few.dataset.get_data_info(0)['keypoints_visible'].any()


@pytest.mark.parametrize('kind', ['masks', 'keypoints'])
def test_mixture(kind, request):
    dataset = request.getfixturevalue(kind)

    def few(name):
        return dict(type='repfusion_mm.FewLabels', dataset=dataset,
                    part=name, num_labelled=2)

    mixed = DATASETS.build(dict(
        type='ConcatDataset', datasets=[
            few('unlabelled'),
            dict(type='RepeatDataset', times=3, dataset=few('labelled'))]))
    told = labelled_mask([mixed[i]['data_samples']
                          for i in range(len(mixed))])
    assert torch.equal(told, torch.tensor([False] * 6 + [True] * 6))


def test_no_classes(masks):
    with pytest.raises(ValueError, match='BaseSegDataset have no `gt_label`; '
                       'give `num_labelled`'):
        DATASETS.build(dict(type='repfusion_mm.FewLabels', dataset=masks,
                            part='labelled', labels_per_class=1))


def test_too_few(masks):
    with pytest.raises(ValueError, match='`num_labelled` is 9, but the data '
                       'set has only 8 images'):
        part(masks, 'labelled', 9)


def test_both_numbers(masks):
    with pytest.raises(ValueError, match='`labels_per_class` is 1 and '
                       '`num_labelled` 2; give one'):
        DATASETS.build(dict(
            type='repfusion_mm.FewLabels', dataset=masks, part='labelled',
            labels_per_class=1, num_labelled=2))


def test_another_ignore_index(masks):
    few = DATASETS.build(dict(
        type='repfusion_mm.FewLabels', dataset=masks, part='unlabelled',
        num_labelled=3, ignore_index=0))
    assert not few[0]['data_samples'].gt_sem_seg.data.any()


def test_mosaics_of_hidden_masks(masks):
    """mmseg's mosaics are made of masks as FewLabels gives them."""
    masks['pipeline'].pop()  # what packs comes behind the mosaic

    def mosaic(part):
        return DATASETS.build(dict(
            type='mmseg.MultiImageMixDataset',
            dataset=dict(type='repfusion_mm.FewLabels', dataset=masks,
                         part=part, num_labelled=3),
            pipeline=[dict(type='mmseg.RandomMosaic', prob=1,
                           img_scale=(SIDE, SIDE)),
                      dict(type='mmseg.PackSegInputs')]))[0]

    hidden = mosaic('unlabelled')['data_samples'].gt_sem_seg.data
    assert (hidden == 255).all()
    assert len(mosaic('labelled')['data_samples'].gt_sem_seg.data.unique()) > 2


def combined(keypoints, first, *rest, **kwargs):
    """Several sources in one, as mmpose has it."""
    load, *others = keypoints['pipeline']
    mapping = [(index, index) for index in range(3)]
    convert = dict(type='mmpose.KeypointConverter', num_keypoints=3,
                   mapping=mapping)
    plain = dict(keypoints, pipeline=[convert])
    return dict(
        type='mmpose.CombinedDataset', metainfo=keypoints['metainfo'],
        datasets=[plain if part is None else dict(
            type='repfusion_mm.FewLabels', dataset=plain, part=part,
            num_labelled=3) for part in (first, *rest)],
        pipeline=[load, *others], **kwargs)


def test_several_sources_of_keypoints(keypoints):
    mixed = DATASETS.build(combined(keypoints, 'unlabelled', 'labelled', None))
    told = labelled_mask([mixed[i]['data_samples']
                          for i in range(len(mixed))])
    assert told.tolist() == [False] * 5 + [True] * 3 + [True] * COUNT


def test_around_several_sources(keypoints):
    inner = combined(keypoints, None, None)
    for name, wanted in (('labelled', True), ('unlabelled', False)):
        few = part(inner, name)
        assert len(few) == (3 if wanted else 2 * COUNT - 3)
        told = labelled_mask([few[i]['data_samples'] for i in range(len(few))])
        assert told.tolist() == [wanted] * len(few)
    with pytest.raises(ValueError, match='another image for the same index'):
        part(combined(keypoints, None, sample_ratio_factor=[0.5]), 'labelled')


@pytest.mark.parametrize('name', ['labelled', 'unlabelled'])
def test_what_mosaics_of_keypoints_draw_from(keypoints, name):
    """mmpose's transforms are handed a data set to mix images of."""
    few = part(keypoints, name)
    seen = []
    few.pipeline.transforms.insert(
        0, lambda info: seen.append(info['dataset']) or info)
    few[0]
    assert seen[0] is few
