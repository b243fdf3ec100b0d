import json
from pathlib import Path

import pytest
from PIL import Image

from tests.test_datasets.bad_files import BAD, GREY16, JPEG, file

CONFIG = """
default_scope = 'mmpretrain'
_load = dict(type='{load}')
train_dataloader = dict(dataset=dict(
    type='ConcatDataset', ignore_keys='classes', datasets=[
        dict(type='repfusion_mm.FewLabels', labels_per_class=0,
             part='unlabelled', dataset=dict(
                 type='CustomDataset', data_root='{root}/unlabelled',
                 with_label=False, pipeline=[_load])),
        dict(type='RepeatDataset', times=7, dataset=dict(
            type='CustomDataset', data_root='{root}/train',
            pipeline=[_load]))]))
val_dataloader = dict(dataset=dict(
    type='CustomDataset', data_root='{root}/val', pipeline=[_load]))
test_dataloader = val_dataloader
"""


@pytest.fixture
def check_images(tool):
    return tool('analysis_tools/check_images').main


@pytest.fixture
def folders(tmp_path):
    for name in ('unlabelled', 'train/a', 'train/b', 'val/a'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'good.jpg').write_bytes(JPEG)
        (tmp_path / name / '16 bits.png').write_bytes(
            file(Image.fromarray(GREY16)))
    for name, (content, _, _) in BAD.items():
        (tmp_path / 'unlabelled' / name).write_bytes(content)
    (tmp_path / 'train/b/notes.txt').write_text('mine')
    (tmp_path / 'train/Thumbs.db').write_bytes(b'x')
    (tmp_path / 'train/lost.jpg').write_bytes(JPEG)  # of no class
    (tmp_path / 'val/a/bad.png').write_bytes(b'')
    return tmp_path


def kinds(report):
    return {Path(one['path']).name: one['kind'] for one in report['bad']}


@pytest.mark.parametrize('load', [
    'LoadImageFromFile', 'repfusion_mm.LoadCheckedImage'])
def test_config(check_images, folders, tmp_path, capsys, load):
    """Every file once, whatever the data set is wrapped in and reads with."""
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=folders, load=load))
    found = tmp_path / 'found.json'
    report = check_images([str(config), '--json', str(found)])
    assert list(report) == ['train_dataloader', 'val_dataloader']
    assert report['train_dataloader']['images'] == 6 + len(BAD) - 1  # no .gif
    assert kinds(report['train_dataloader']) == {
        name: kind for name, (_, kind, _) in BAD.items() if name != 'cut.gif'}
    assert kinds(report['val_dataloader']) == {'bad.png': 'empty'}
    assert {Path(path).name for path
            in report['train_dataloader']['passed_over']} == {
                'cut.gif', 'notes.txt', 'Thumbs.db', 'lost.jpg'}
    assert json.loads(found.read_text()) == report
    said = capsys.readouterr().out
    assert '20 images, 14 bad: 7 truncated, 2 no colours, 2 too la' in said
    assert '4 other files are passed over, by their extension: 1 .' in said
    assert f"{str(folders / 'val/a/bad.png')!r} is empty" in said


def test_folder(check_images, folders, capsys):
    report, = check_images([str(folders / 'train')]).values()
    assert report['images'] == 5 and not report['bad']
    said = capsys.readouterr().out
    assert '5 images, 0 bad' in said and '2 other files are passed' in said


def test_limit(check_images, folders):
    report, = check_images(
        [str(folders / 'val'), '--max-pixels', '3000']).values()
    assert kinds(report) == {'bad.png': 'empty', 'good.jpg': 'too large',
                             '16 bits.png': 'too large'}


def test_nothing_there(check_images):
    with pytest.raises(SystemExit, match='nowhere is not there; expected a'):
        check_images(['nowhere'])
