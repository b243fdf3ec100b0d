import numpy as np
import pytest
from PIL import Image

# index, index in CelebA, split: the partition's first and last images
ROWS = [(0, 0, 'train'), (1, 162770, 'train'), (2, 162771, 'val'),
        (3, 182637, 'val'), (2001, 182638, 'test')]
RNG = np.random.default_rng(0)


@pytest.fixture
def converter(tool):
    return tool('dataset_converters/celebamask_hq')


@pytest.fixture
def folder(tmp_path):
    """A few images of 32x32 in the official layout, with masks of 16x16."""
    folder = tmp_path / 'CelebAMask-HQ'
    (folder / 'CelebA-HQ-img').mkdir(parents=True)
    lines = ['idx          orig_idx   orig_file']
    for index, original, _ in ROWS:
        pixels = np.full((32, 32, 3), 40 + index % 100, np.uint8)
        Image.fromarray(pixels).save(folder / f'CelebA-HQ-img/{index}.jpg')
        lines.append(f'{index}            {original}     {original:06d}.jpg')
        for part, rows in (('skin', (2, 12)), ('hair', (0, 4)),
                           ('nose', (6, 9)), ('cloth', (11, 16))):
            mask(folder, index, part, rows)
    (folder / 'CelebA-HQ-to-CelebA-mapping.txt').write_text(
        '\n'.join(lines) + '\n')
    return folder


def mask(folder, index, part, rows, size=16):
    path = mask_path(folder, index, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size, size, 3), np.uint8)  # RGB, as released
    pixels[slice(*rows)] = 255
    Image.fromarray(pixels).save(path)


def mask_path(folder, index, part):
    return folder / (f'CelebAMask-HQ-mask-anno/{index // 2000}/'
                     f'{index:05d}_{part}.png')


def tree(out):
    return {path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.rglob('*') if path.is_file()}


def test_layout(converter, folder, tmp_path):
    out = tmp_path / 'out'
    assert converter.main([str(folder), str(out)]) == 0
    assert set(tree(out)) == {
        f'{kind}/{split}/{index}.{suffix}' for index, _, split in ROWS
        for kind, suffix in (('images', 'jpg'), ('annotations', 'png'))}
    # later parts of the official order over earlier ones: skin 1, nose 2,
    # hair 13, cloth 18
    wanted = [13] * 4 + [1] * 2 + [2] * 3 + [1] * 2 + [18] * 5
    for index, _, split in ROWS:
        annotation = Image.open(out / f'annotations/{split}/{index}.png')
        assert annotation.mode == 'L'
        assert (np.asarray(annotation) == np.array(wanted)[:, None]).all()
        image = np.asarray(Image.open(out / f'images/{split}/{index}.jpg'))
        assert image.shape == (16, 16, 3)
        assert abs(image.astype(int) - (40 + index % 100)).max() <= 2


def test_every_part_has_its_class(converter, folder, tmp_path):
    from repfusion_mm.registry import DATASETS
    pytest.importorskip('mmseg')
    for row, part in enumerate(converter.PARTS[:16]):
        mask(folder, 0, part, (row, row + 1))
    mask_path(folder, 0, 'cloth').unlink()
    out = tmp_path / 'out'
    assert converter.main([str(folder), str(out)]) == 0
    dataset = DATASETS.build(dict(
        type='repfusion_mm.CelebAMaskHQ', data_root=str(out),
        data_prefix=dict(img_path='images/train',
                         seg_map_path='annotations/train'),
        pipeline=[dict(type='mmseg.LoadAnnotations')]))
    names = np.array(dataset.metainfo['classes'])
    assert dataset.metainfo['classes'][1:] == converter.PARTS
    found = names[dataset[0]['gt_seg_map'][:, 0]]
    assert found.tolist() == list(converter.PARTS[:16])


def test_interrupted(converter, folder, tmp_path, monkeypatch):
    out, real = tmp_path / 'out', converter.save
    assert converter.main([str(folder), str(tmp_path / 'whole')]) == 0
    saved = []

    def stops(image, target, **options):
        saved.append(target)
        if len(saved) == 4:  # between an image and its mask
            raise KeyboardInterrupt
        real(image, target, **options)

    monkeypatch.setattr(converter, 'save', stops)
    with pytest.raises(KeyboardInterrupt):
        converter.main([str(folder), str(out)])
    done = [path for path in out.rglob('*/0.*')]
    assert len(done) == 2
    times = [path.stat().st_mtime_ns for path in done]
    monkeypatch.setattr(converter, 'save', real)
    assert converter.main([str(folder), str(out)]) == 0
    assert tree(out) == tree(tmp_path / 'whole')
    assert [path.stat().st_mtime_ns for path in done] == times


def test_never_half_written(converter, tmp_path, monkeypatch):
    def full(*args):
        raise OSError('disk is full')

    monkeypatch.setattr(converter.os, 'replace', full)
    with pytest.raises(OSError, match='full'):
        converter.save(Image.new('L', (2, 2)), tmp_path / 'a.png',
                       format='PNG')
    assert not (tmp_path / 'a.png').exists()


def truncate(folder):
    pixels = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path = mask_path(folder, 2, 'hair')
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:200])


def no_image(folder):
    (folder / 'CelebA-HQ-img/2.jpg').unlink()


def damaged_image(folder):
    (folder / 'CelebA-HQ-img/2.jpg').write_bytes(b'no image')


def no_mask(folder):
    for path in (folder / 'CelebAMask-HQ-mask-anno/0').glob('00002_*'):
        path.unlink()


def other_size(folder):
    mask(folder, 2, 'nose', (0, 1), size=20)


@pytest.mark.parametrize('spoil, named', [
    (truncate, '00002_hair.png: damaged'), (no_image, '2.jpg: no image'),
    (damaged_image, '2.jpg: damaged'), (no_mask, '2.jpg: no mask'),
    (other_size, '00002_nose.png: (20, 20) pixels')])
def test_problems_are_named(converter, folder, tmp_path, capsys, spoil, named):
    spoil(folder)
    out = tmp_path / 'out'
    assert converter.main([str(folder), str(out)]) == 1
    printed = capsys.readouterr().out
    assert named in printed and '1 problems' in printed
    # the others are finished
    assert len(tree(out)) == 2 * (len(ROWS) - 1)
    assert 'annotations/val/2.png' not in tree(out)


def test_foreign_mask(converter, folder, tmp_path, capsys):
    mask(folder, 0, 'beard', (0, 1))
    assert converter.main([str(folder), str(tmp_path / 'out')]) == 1
    assert '00000_beard.png' in capsys.readouterr().out
    assert len(tree(tmp_path / 'out')) == 2 * len(ROWS)


@pytest.mark.parametrize('absent', [
    'CelebA-HQ-img', 'CelebAMask-HQ-mask-anno',
    'CelebA-HQ-to-CelebA-mapping.txt'])
def test_incomplete_folder(converter, folder, tmp_path, absent):
    (folder / absent).rename(folder / 'elsewhere')
    with pytest.raises(SystemExit, match=f'has no {absent}'):
        converter.main([str(folder), str(tmp_path / 'out')])


def test_mapping_of_something_else(converter, folder, tmp_path):
    path = folder / 'CelebA-HQ-to-CelebA-mapping.txt'
    path.write_text('idx orig_idx orig_file\n0 119613 119614.jpg\nfoo bar\n')
    with pytest.raises(SystemExit, match="line 3.*'foo bar'"):
        converter.main([str(folder), str(tmp_path / 'out')])


def test_help(converter, capsys):
    with pytest.raises(SystemExit) as stop:
        converter.main(['--help'])
    assert stop.value.code == 0
    assert 'CelebAMask-HQ-mask-anno' in capsys.readouterr().out
