"""FewLabels around the COCO data sets of mmdet."""
import json

import cv2
import numpy as np
import pytest

from repfusion_mm.engine.hooks.run_checks import check_mixing
from repfusion_mm.models.labels import labelled_mask
from repfusion_mm.registry import DATASETS

pytest.importorskip('mmdet')
COUNT, SIDE = 8, 32


@pytest.fixture
def boxes(tmp_path):
    """Config of a data set; images of no box, of one and of two classes."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    annotations = []
    for index in range(COUNT):
        cv2.imwrite(str(tmp_path / f'images/{index}.png'),
                    rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        for kind in range(index % 3):
            annotations.append(dict(
                id=len(annotations), image_id=index, category_id=kind + 1,
                iscrowd=0, area=100, bbox=[2 + index, 4, 10, 10]))
    (tmp_path / 'boxes.json').write_text(json.dumps(dict(
        images=[dict(id=i, file_name=f'{i}.png', width=SIDE, height=SIDE)
                for i in range(COUNT)],
        annotations=annotations,
        categories=[dict(id=1, name='a'), dict(id=2, name='b')])))
    return dict(
        type='mmdet.CocoDataset', data_root=str(tmp_path),
        ann_file='boxes.json', data_prefix=dict(img='images/'),
        metainfo=dict(classes=('a', 'b')),
        pipeline=[dict(type='mmdet.LoadImageFromFile'),
                  dict(type='mmdet.LoadAnnotations', with_bbox=True),
                  dict(type='mmdet.RandomFlip', prob=1.),
                  dict(type='mmdet.PackDetInputs')])


def part(dataset, name, **more):
    return DATASETS.build(dict(type='repfusion_mm.FewLabels',
                               dataset=dataset, part=name, **more))


def test_parts(boxes):
    whole = DATASETS.build(boxes)
    labelled = part(boxes, 'labelled', num_labelled=3)
    others = part(boxes, 'unlabelled', num_labelled=3)
    assert (len(labelled), len(others)) == (3, COUNT - 3)
    names = set()
    for dataset, known in ((labelled, True), (others, False)):
        for index in range(len(dataset)):
            item = dataset[index]
            sample = item['data_samples']
            names.add(sample.img_path)
            plain = whole[int(sample.img_path[-5])]
            assert (item['inputs'] == plain['inputs']).all()
            assert labelled_mask([sample]).tolist() == [known]
            assert sample.get('unlabelled', False) is not known
            wanted = plain['data_samples'].gt_instances
            assert len(sample.gt_instances) == (len(wanted) if known else 0)
            if known:
                assert (sample.gt_instances.bboxes.tensor ==
                        wanted.bboxes.tensor).all()
    assert len(names) == COUNT


def test_labels_per_class(boxes):
    """An image of both classes counts for each."""
    labelled = part(boxes, 'labelled', labels_per_class=2)
    classes = [{box['bbox_label'] for box in
                labelled.get_data_info(i)['instances']}
               for i in range(len(labelled))]
    assert sum(0 in one for one in classes) >= 2
    assert sum(1 in one for one in classes) == 2
    assert set() not in classes
    with pytest.raises(ValueError, match='class 1 has only 2 images'):
        part(boxes, 'labelled', labels_per_class=3)


def test_images_alone(boxes, tmp_path):
    """A file without annotations, all of whose images are unlabelled."""
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(dict(json.loads(path.read_text()),
                                    annotations=[])))
    whole = part(boxes, 'unlabelled', labels_per_class=0)
    assert len(whole) == COUNT
    assert not labelled_mask([one['data_samples'] for one in whole]).any()


def test_flag_in_an_outer_pipeline(boxes):
    """Where the samples are packed around FewLabels, by `meta_keys`."""
    steps = boxes['pipeline']
    inner = dict(boxes, pipeline=steps[:-1])
    for name, known in (('labelled', True), ('unlabelled', False)):
        mixed = DATASETS.build(dict(
            type='mmdet.MultiImageMixDataset',
            dataset=dict(type='repfusion_mm.FewLabels', dataset=inner,
                         part=name, num_labelled=4),
            pipeline=[
                dict(type='mmdet.Mosaic', img_scale=(SIDE, SIDE), prob=1.),
                dict(type='mmdet.PackDetInputs',
                     meta_keys=('img_path', 'img_shape', 'unlabelled'))]))
        check_mixing(mixed)
        for index in range(4):
            sample = mixed[index]['data_samples']
            assert labelled_mask([sample]).tolist() == [known]
            assert known or not len(sample.gt_instances)
    mixed.pipeline[-1].meta_keys = ('img_path', )  # of the unlabelled part
    with pytest.raises(ValueError, match='without `unlabelled` among'):
        check_mixing(mixed)
