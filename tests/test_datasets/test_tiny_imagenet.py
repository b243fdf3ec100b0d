import cv2
import numpy as np
import pytest

from repfusion_mm.registry import DATASETS

IDS = ['n03', 'n01', 'n02']  # not sorted, as in the official file


@pytest.fixture
def folder(tmp_path):
    """Three classes in the official layout; the grey level tells the class."""
    def image(path, level):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f'{path}.jpg', np.full((64, 64, 3), level, np.uint8))
        path.with_name(f'{path.name}.jpg').rename(path)

    lines = []
    for place, one in enumerate(IDS):
        level = 40 * int(one[-1])
        for i in range(2):
            image(tmp_path / f'train/{one}/images/{one}_{i}.JPEG', level)
        image(tmp_path / f'val/images/val_{place}.JPEG', level)
        lines.append(f'val_{place}.JPEG\t{one}\t0\t1\t62\t63\n')
        (tmp_path / f'train/{one}/{one}_boxes.txt').write_text('x\t0\t0\n')
    for i in range(4):
        image(tmp_path / f'test/images/test_{i}.JPEG', 200)
    (tmp_path / 'val/val_annotations.txt').write_text(''.join(lines))
    (tmp_path / 'wnids.txt').write_text('\n'.join(IDS) + '\n')
    (tmp_path / 'words.txt').write_text(
        'n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\tbullfrog\n')
    return tmp_path


def build(folder, **cfg):
    return DATASETS.build(dict(
        type='repfusion_mm.TinyImageNet', data_root=str(folder), **cfg))


def test_labels_are_sorted_ids(folder):
    pipeline = [dict(type='mmpretrain.LoadImageFromFile'),
                dict(type='mmpretrain.PackInputs')]
    for split, count in (('train', 6), ('val', 3)):
        dataset = build(folder, split=split, pipeline=pipeline)
        assert len(dataset) == count
        labels = [item['data_samples'].gt_label.item() for item in dataset]
        assert sorted(set(labels)) == [0, 1, 2]
        for item, label in zip(dataset, labels):
            assert item['inputs'].shape == (3, 64, 64)
            assert item['inputs'].float().mean().round() == 40 * (label + 1)


def test_class_folders_have_the_same_labels(folder, tool, tmp_path):
    # what the converter writes, mmpretrain's data set of folders reads alike
    out = tmp_path / 'out'
    assert tool('dataset_converters/tiny_imagenet').main(
        [str(folder), str(out)]) == 0
    for split in ('train', 'val'):
        ours = build(folder, split=split)
        theirs = DATASETS.build(dict(
            type='mmpretrain.CustomDataset', data_root=str(out),
            data_prefix=split))
        found = [{(info['img_path'].split('/')[-1], info['gt_label'])
                  for info in map(dataset.get_data_info, range(len(dataset)))}
                 for dataset in (ours, theirs)]
        assert found[0] == found[1] and len(found[0]) == len(ours)


def test_test_images_have_no_label(folder):
    dataset = build(folder, split='test')
    assert len(dataset) == 4
    assert {dataset.get_data_info(i)['gt_label'] for i in range(4)} == {-1}


def test_class_names(folder):
    # n03 has no line in words.txt
    names = ('goldfish, Carassius auratus', 'bullfrog', 'n03')
    assert build(folder).metainfo['classes'] == names
    chosen = build(folder, metainfo=dict(classes=('a', 'b', 'c')))
    assert chosen.metainfo['classes'] == ('a', 'b', 'c')


def test_few_labels(folder):
    dataset = DATASETS.build(dict(
        type='repfusion_mm.FewLabels', labels_per_class=1, part='labelled',
        dataset=dict(type='repfusion_mm.TinyImageNet',
                     data_root=str(folder), lazy_init=True)))
    assert [dataset.get_data_info(i)['gt_label'] for i in range(3)] == \
        [0, 1, 2]
    assert len(dataset.metainfo['classes']) == 3


def test_wrong_split(folder):
    with pytest.raises(ValueError, match="`split` is 'dev'.*val"):
        build(folder, split='dev')


@pytest.mark.parametrize('absent, split', [
    ('wnids.txt', 'train'), ('words.txt', 'test'),
    ('val/val_annotations.txt', 'val'), ('train/n02', 'train'),
    ('test', 'test')])
def test_incomplete_folder(folder, absent, split):
    (folder / absent).rename(folder / 'elsewhere')
    with pytest.raises(FileNotFoundError, match=f'`data_root`.*{absent}'):
        build(folder, split=split)


@pytest.mark.parametrize('line, match', [
    ('val_9.JPEG\tn77\t0\t0\t1\t1\n', "val_9.JPEG the class 'n77'"),
    ('val_9.JPEG\n', "val_9.JPEG the class ''")])
def test_foreign_class(folder, line, match):
    with open(folder / 'val/val_annotations.txt', 'a') as file:
        file.write(line)
    with pytest.raises(ValueError, match=match):
        build(folder, split='val')
