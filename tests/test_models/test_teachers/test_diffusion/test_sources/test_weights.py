import json
import shutil

import pytest
import torch

PLAIN = 'diffusion_pytorch_model'


@pytest.fixture
def folder(unet, bare_folder, tmp_path):
    """A folder of a bare model, whose weights are laid out as asked."""

    def lay_out(model=unet, **how):
        where = tmp_path / 'unet'
        model.save_pretrained(where, **how)
        return where

    return lay_out


@pytest.fixture
def read(build):
    """The denoiser that a teacher reads from a folder."""

    def make(folder, **cfg):
        teacher = build(dict(type='repfusion_mm.UNetTeacher',
                             pretrained=str(folder), taps=['out.0'], **cfg))
        teacher.init_weights()
        return teacher.denoiser

    return make


def same(denoiser, unet, **tolerance):
    weights = denoiser.state_dict()
    assert set(weights) == set(unet.state_dict())
    for name, wanted in unet.state_dict().items():
        assert weights[name].dtype == torch.float32
        torch.testing.assert_close(weights[name], wanted, **tolerance)


@pytest.mark.parametrize('safe', [True, False])
@pytest.mark.parametrize('shard', ['100KB', '10GB'])
@pytest.mark.parametrize('variant', [None, 'fp16'])
def test_layouts(folder, read, unet, safe, shard, variant):
    """As diffusers writes them; a variant that is alone is found."""
    where = folder(safe_serialization=safe, max_shard_size=shard,
                   variant=variant)
    names = [path.name for path in where.glob(f'{PLAIN}*')]
    assert (len(names) > 2) == (shard == '100KB')
    assert all(('fp16' in name) == (variant == 'fp16') for name in names)
    same(read(where), unet, rtol=0, atol=0)
    if variant:
        same(read(where, variant='fp16'), unet, rtol=0, atol=0)


def test_half_precision(folder, read, unet):
    from diffusers import UNet2DModel
    half = UNet2DModel.from_config(unet.config)
    half.load_state_dict(unet.state_dict())
    where = folder(half.half(), variant='fp16')
    denoiser = read(where)
    same(denoiser, unet, rtol=1e-3, atol=1e-4)
    assert not torch.equal(denoiser.conv_in.weight, unet.conv_in.weight)


def test_choice_of_variants(folder, read, unet):
    """The plain weights where there are some; else one must be named."""
    from diffusers import UNet2DModel
    where = folder()
    others = {name: UNet2DModel.from_config(unet.config)
              for name in ('fp16', 'non_ema')}
    for name, other in others.items():
        other.save_pretrained(where, variant=name)
    same(read(where), unet, rtol=0, atol=0)
    same(read(where, variant='non_ema'), others['non_ema'], rtol=0, atol=0)
    with pytest.raises(ValueError, match="`teacher.variant` is 'fp61'.*"
                       "nearest: 'fp16'"):
        read(where, variant='fp61')
    (where / f'{PLAIN}.safetensors').unlink()
    with pytest.raises(ValueError, match=r"variants \['fp16', 'non_ema'\]; "
                       'choose one by `teacher.variant`'):
        read(where)


def test_no_variant_there(folder, read):
    with pytest.raises(ValueError, match='`teacher.variant`.*leave it out'):
        read(folder(), variant='fp16')


def test_variant_of_nothing(build, tiny):
    for key in ('variant', 'revision'):
        with pytest.raises(ValueError, match=f'`teacher.{key}`.*without'):
            build(dict(type='repfusion_mm.UNetTeacher', config=tiny,
                       **{key: 'fp16'}))


def test_safetensors_first(folder, read, unet):
    where = folder()
    torch.save({}, where / f'{PLAIN}.bin')
    same(read(where), unet, rtol=0, atol=0)


@pytest.mark.parametrize('safe', [True, False])
def test_a_shard_is_missing(folder, read, safe):
    where = folder(max_shard_size='100KB', safe_serialization=safe)
    shard = sorted(where.glob('*-00002-of-*'))[0]
    shard.unlink()
    with pytest.raises(OSError, match='`teacher.pretrained`.*there is no '
                       f'{shard.name}') as error:
        read(where)
    assert str(where) in str(error.value)


def test_a_damaged_shard_is_named(folder, read):
    where = folder(max_shard_size='100KB')
    shard = sorted(where.glob('*-00002-of-*'))[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(OSError, match=shard.name):
        read(where)


def test_shards_without_their_index(folder, read):
    where = folder(max_shard_size='100KB')
    (where / f'{PLAIN}.safetensors.index.json').unlink()
    with pytest.raises(OSError, match='no weights.*index.*found.*-00001-of-'):
        read(where)


def test_damaged_index(folder, read):
    where = folder(max_shard_size='100KB')
    (where / f'{PLAIN}.safetensors.index.json').write_text('{"weight')
    with pytest.raises(OSError, match='index.json.*cannot be read'):
        read(where)


def test_pointer_of_git_lfs(folder, read):
    where = folder()
    (where / f'{PLAIN}.safetensors').write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n')
    with pytest.raises(OSError, match='git lfs pull'):
        read(where)


def test_weights_of_another_framework(folder, read):
    where = folder()
    (where / f'{PLAIN}.safetensors').rename(
        where / 'diffusion_flax_model.msgpack')
    with pytest.raises(OSError, match='found .*diffusion_flax_model.msgpack'):
        read(where)


def test_old_names_of_attention(folder, read, unet):
    """As google/ddpm-cifar10-32 and its like still have them."""
    old = {'.to_q.': '.query.', '.to_k.': '.key.', '.to_v.': '.value.',
           '.to_out.0.': '.proj_attn.'}
    state = {}
    for name, weight in unet.state_dict().items():
        for new, before in old.items():
            name = name.replace(new, before)
        state[name] = weight
    where = folder()
    (where / f'{PLAIN}.safetensors').unlink()
    torch.save(state, where / f'{PLAIN}.bin')
    same(read(where), unet, rtol=0, atol=0)


class Hub:
    """A hub of one repository, which is a folder."""

    def __init__(self, folder):
        self.folder, self.fetched, self.revisions = folder, [], []
        self.sha = '0' * 40

    def model_info(self, api, repo_id, revision=None, **_):
        self.revisions.append(revision)
        self.siblings = [
            type('File', (), dict(rfilename=str(path.relative_to(
                self.folder))))() for path in self.folder.rglob('*')
            if path.is_file()]
        return self

    def download(self, repo_id, name, revision=None):
        assert (repo_id, revision) == ('owner/name', self.sha)
        self.fetched.append(name)
        return str(self.folder / name)


def test_hub(pipeline_folder, unet, read, monkeypatch, tmp_path):
    """What is needed is fetched, and no other weights."""
    import huggingface_hub
    folder = tmp_path / 'hub'
    shutil.copytree(pipeline_folder, folder)
    torch.save({}, folder / 'unet' / f'{PLAIN}.bin')
    unet.save_pretrained(folder / 'unet', variant='fp16')
    hub = Hub(folder)
    monkeypatch.setattr(huggingface_hub.HfApi, 'model_info',
                        lambda *args, **kwargs: hub.model_info(*args,
                                                               **kwargs))
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', hub.download)
    same(read('owner/name', revision='v1.0'), unet, rtol=0, atol=0)
    assert set(hub.revisions) == {'v1.0'}
    assert [name for name in hub.fetched if not name.endswith('.json')] == \
        [f'unet/{PLAIN}.safetensors']
    read('owner/name', variant='fp16')
    assert hub.fetched[-1] == f'unet/{PLAIN}.fp16.safetensors'


def test_hub_without_a_network(pipeline_folder, unet, read, monkeypatch,
                               tmp_path):
    """What was fetched before is found."""
    from huggingface_hub import constants
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    repository = tmp_path / 'models--owner--name'
    for name, commit in (('main', 'a' * 40), ('v1.0', 'b' * 40)):
        shutil.copytree(pipeline_folder, repository / 'snapshots' / commit)
        (repository / 'refs').mkdir(exist_ok=True)
        (repository / 'refs' / name).write_text(commit)
    same(read('owner/name'), unet, rtol=0, atol=0)
    path = repository / 'snapshots' / ('b' * 40) / 'scheduler'
    path /= 'scheduler_config.json'
    config = json.loads(path.read_text())
    path.write_text(json.dumps(dict(config, num_train_timesteps=200)))
    with pytest.raises(ValueError, match='knows 200 time steps'):
        read('owner/name', revision='v1.0', config=dict(unet.config))
    with pytest.raises(FileNotFoundError, match='owner/other'):
        read('owner/other')
    with pytest.raises(FileNotFoundError, match='owner/name'):
        read('owner/name', revision='v2.0')


def test_a_folder_has_no_revisions(pipeline_folder, read):
    with pytest.raises(ValueError, match='`teacher.revision`.*is a folder'):
        read(pipeline_folder, revision='main')
