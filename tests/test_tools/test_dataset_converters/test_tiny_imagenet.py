import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

IDS = ['n02', 'n01']


@pytest.fixture
def convert(tool):
    return tool('dataset_converters/tiny_imagenet').main


@pytest.fixture
def folder(tmp_path):
    """Two classes of the official layout, two images each and split."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'tiny-imagenet-200'

    def image(name):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, 'JPEG')

    for one in IDS:
        for i in range(2):
            image(f'train/{one}/images/{one}_{i}.JPEG')
    for i in range(4):
        image(f'val/images/val_{i}.JPEG')
        image(f'test/images/test_{i}.JPEG')
    (folder / 'wnids.txt').write_text('n02\nn01\n')
    (folder / 'words.txt').write_text('n01\tone\nn02\ttwo\n')
    (folder / 'val/val_annotations.txt').write_text(''.join(
        f'val_{i}.JPEG\t{IDS[i % 2]}\t0\t0\t63\t63\n' for i in range(4)))
    return folder


def zipped(folder):
    """The folder as the official zip has it."""
    path = folder.with_suffix('.zip')
    with zipfile.ZipFile(path, 'w') as file:
        for one in sorted(folder.rglob('*')):
            file.write(one, one.relative_to(folder.parent))
    return path


def tree(out):
    return {path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.rglob('*') if path.is_file()}


@pytest.mark.parametrize('packed', [False, True])
def test_class_folders(convert, folder, tmp_path, packed):
    out = tmp_path / 'out'
    source = zipped(folder) if packed else folder.parent
    assert convert([str(source), str(out)]) == 0
    wanted = {}
    for one in IDS:
        for i in range(2):
            name = f'{one}_{i}.JPEG'
            wanted[f'train/{one}/{name}'] = \
                (folder / f'train/{one}/images/{name}').read_bytes()
    for i in range(4):
        name = f'val_{i}.JPEG'
        wanted[f'val/{IDS[i % 2]}/{name}'] = \
            (folder / f'val/images/{name}').read_bytes()
    assert tree(out) == wanted


def test_interrupted(convert, folder, tmp_path, monkeypatch):
    out, real, seen = tmp_path / 'out', Image.open, []

    def stops(file):
        seen.append(file)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(file)

    monkeypatch.setattr(Image, 'open', stops)
    with pytest.raises(KeyboardInterrupt):
        convert([str(folder), str(out)])
    done = {path: path.stat().st_mtime_ns for path in out.rglob('*.JPEG')}
    assert len(done) == 3
    # what a stop in the middle of a write leaves behind
    half = out / 'train/n02/n02_0.JPEG'
    half.write_bytes(half.read_bytes()[:100])
    seen[:] = [None] * 4
    assert convert([str(folder), str(out)]) == 0
    assert len(seen) == 4 + 6  # two of eight were finished
    assert len(tree(out)) == 8
    assert half.stat().st_size > 100
    for path, when in done.items():
        assert path == half or path.stat().st_mtime_ns == when
    # a third time there is nothing to do
    assert convert([str(folder), str(out)]) == 0
    assert len(seen) == 10


def spoil_zip(path):
    """Change a stored byte, so that the checksum does not fit."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        info = file.getinfo('tiny-imagenet-200/train/n01/images/n01_0.JPEG')
    place = info.header_offset + 30 + len(info.filename) + 700
    path.write_bytes(content[:place] + bytes([content[place] ^ 255]) +
                     content[place + 1:])


@pytest.mark.parametrize('kind', ['zip', 'truncated', 'text'])
def test_damaged_image(convert, folder, tmp_path, capsys, kind):
    source, out = folder, tmp_path / 'out'
    image = folder / 'train/n01/images/n01_0.JPEG'
    if kind == 'zip':
        source = zipped(folder)
        spoil_zip(source)
    else:
        image.write_bytes(image.read_bytes()[:1000] if kind == 'truncated'
                          else b'not an image')
    good = image.read_bytes()
    assert convert([str(source), str(out)]) == 1
    printed = capsys.readouterr().out
    assert 'train/n01/images/n01_0.JPEG: damaged' in printed
    assert '1 problems' in printed
    # the others are there, and the damaged one is not
    assert len(tree(out)) == 7
    assert not (out / 'train/n01/n01_0.JPEG').exists()
    if kind == 'zip':  # a good zip mends it
        assert convert([str(zipped(folder)), str(out)]) == 0
        assert tree(out)['train/n01/n01_0.JPEG'] == good


def test_annotations(convert, folder, tmp_path, capsys):
    (folder / 'val/val_annotations.txt').write_text(
        'val_0.JPEG\tn02\t0\t0\t63\t63\n'
        'val_1.JPEG\tn77\t0\t0\t63\t63\n'
        'val_9.JPEG\tn01\t0\t0\t63\t63\n'
        'val_3.JPEG')  # cut off
    out = tmp_path / 'out'
    assert convert([str(folder), str(out)]) == 1
    printed = capsys.readouterr().out
    for line in ('val/images/val_1.JPEG: its class \'n77\' is not in '
                 'wnids.txt',
                 'val/images/val_2.JPEG: no line in val/val_annotations.txt',
                 'val/images/val_3.JPEG: no line in val/val_annotations.txt',
                 'val/images/val_9.JPEG: named by val/val_annotations.txt, '
                 'but absent', 'val/n01: a class without images'):
        assert line in printed
    assert '5 problems' in printed
    assert len(tree(out)) == 5


def test_class_that_is_no_class(convert, folder, tmp_path, capsys):
    shutil.copytree(folder / 'train/n01', folder / 'train/n05')
    assert convert([str(folder), str(tmp_path / 'out')]) == 1
    assert "its class 'n05' is not in wnids.txt" in capsys.readouterr().out
    assert not (tmp_path / 'out/train/n05').exists()


def test_into_itself(convert, folder):
    # the new folders stand beside the old ones, and are no source
    for _ in range(2):
        assert convert([str(folder), str(folder)]) == 0
    assert len(list(folder.glob('train/*/*.JPEG'))) == 4
    assert len(list(folder.glob('val/n*/*.JPEG'))) == 4


@pytest.mark.parametrize('kind, match', [
    ('absent', 'no folder, and no zip'), ('text', 'no folder, and no zip'),
    ('empty', 'no wnids.txt'), ('no annotations', 'has no .*annotations.txt')])
def test_no_source(convert, folder, tmp_path, kind, match):
    source = tmp_path / 'source'
    if kind == 'text':
        source.write_text('not a zip')
    elif kind == 'empty':
        source.mkdir()
    elif kind == 'no annotations':
        (folder / 'val/val_annotations.txt').unlink()
        source = folder
    with pytest.raises(SystemExit, match=match):
        convert([str(source), str(tmp_path / 'out')])


def test_help(convert, capsys):
    with pytest.raises(SystemExit) as stop:
        convert(['--help'])
    assert stop.value.code == 0
    assert 'source' in capsys.readouterr().out


@pytest.mark.parametrize('name', [
    '../evil', 'train/../../evil.JPEG', '/tmp/evil', 'train\\..\\..\\evil',
    'C:/evil'])
def test_leads_out_of_the_folder(convert, folder, tmp_path, name):
    """A name of the archive: all of it is refused."""
    path = zipped(folder)
    with zipfile.ZipFile(path, 'a') as file:
        file.writestr(name, (folder / 'wnids.txt').read_bytes())
    out = tmp_path / 'out'
    with pytest.raises(SystemExit, match='leads out of the folder.*nothing'):
        convert([str(path), str(out)])
    assert not out.exists()


@pytest.mark.parametrize('packed', [False, True])
def test_class_that_leads_out_of_the_folder(convert, folder, tmp_path,
                                            packed):
    """Of a list in the archive: an image would be written there."""
    evil = '../../evil'
    with open(folder / 'wnids.txt', 'a') as file:
        file.write(f'{evil}\n')
    annotations = folder / 'val/val_annotations.txt'
    annotations.write_text(annotations.read_text().replace('n01', evil))
    source = zipped(folder) if packed else folder
    with pytest.raises(SystemExit, match=f"names '{evil}', which leads out"):
        convert([str(source), str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()
    assert not list(tmp_path.rglob('evil'))
