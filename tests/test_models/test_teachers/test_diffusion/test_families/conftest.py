"""The proof that every family of diffusion models has to pass."""
import json
from functools import partial

import pytest
import torch

SIZE = (32, 48)  # of images: higher than wide would hide a transposed map


class Family:
    """A small model of one family, and how its real pipeline would call it.

    Args:
        folder (Path): In the layout that diffusers' ``save_pretrained``
            writes.
        denoiser (nn.Module): The unmodified denoiser, in float64.
        call (Callable): ``call(denoiser, inputs, t)`` calls it as the
            pipeline does.
        inputs (Callable): Images of -1 to 1, in float64, to what the denoiser
            looks at, by diffusers' own classes. Defaults to the images.
        noised (Callable): ``noised(inputs, noise, t)``, by diffusers' own
            scheduler.
        scaled (Callable): ``scaled(inputs, t)``, what is given to the
            denoiser. Defaults to the inputs.
        image_tokens (Callable): ``image_tokens(path, output)``, the tensor of
            the image stream in what a module returns. Defaults to the first
            tensor.
        grids (Sequence[tuple]): Height and width of the image's tokens, at
            ``SIZE``, that must come as maps.
        teacher (dict): Further keys of the teacher's config.
    """

    def __init__(self, folder, denoiser, call, noised, inputs=None,
                 scaled=None, image_tokens=None, grids=(), **teacher):
        self.folder, self.denoiser, self.call = folder, denoiser, call
        self.inputs = inputs or (lambda images: images)
        self.noised = noised
        self.scaled = scaled or (lambda inputs, t: inputs)
        self.image_tokens = image_tokens or (lambda path, output: output)
        self.grids = {h * w: (h, w) for h, w in grids}
        self.teacher = dict(dict(
            type='repfusion_mm.DiffusionTeacher', pretrained=str(folder),
            image_size=SIZE), **teacher)


def first(output):
    if hasattr(output, 'to_tuple'):
        output = output.to_tuple()
    return output[0] if isinstance(output, tuple) else output


def reference(family, inputs, t, calls=None):
    """What every module returns, in the order of their last calls.

    ``calls`` becomes a list of (path, whether it returns) as they come.
    """
    found, handles = {}, []
    calls = [] if calls is None else calls

    def keep(path, module, args, output):
        found.pop(path, None)
        calls.append((path, True))
        hidden = first(family.image_tokens(path, output))
        if isinstance(hidden, torch.Tensor):
            found[path] = hidden.clone()

    for path, module in family.denoiser.named_modules():
        if path:
            handles.append(module.register_forward_hook(partial(keep, path)))
            handles.append(module.register_forward_pre_hook(
                lambda *_, path=path: calls.append((path, False))))
    with torch.no_grad():
        family.call(family.denoiser, family.scaled(inputs, t), t)
    for handle in handles:
        handle.remove()
    return found


def as_tokens(family, feature, wanted):
    """A map of the teacher's as the tokens that the module returned."""
    if feature.dim() == 4 and wanted.dim() == 3:
        assert tuple(feature.shape[2:]) == \
            family.grids[feature.shape[2] * feature.shape[3]]
        if feature.shape[1] == wanted.shape[1]:  # channels lie in front
            return feature.flatten(2)
        return feature.flatten(2).transpose(1, 2)
    return feature


class Proof:
    """Compares a teacher with a :class:`Family`'s unmodified denoiser."""

    def __init__(self, build):
        self.build = build
        self.images = torch.rand(3, 3, *SIZE) * 255
        self.t = torch.tensor([1, 250, 900])
        self.labels = None

    def teacher(self, family, taps, double=True, **cfg):
        teacher = self.build(dict(family.teacher, taps=taps, **cfg))
        teacher.init_weights()
        return teacher.double() if double else teacher

    def clean(self, family):
        with torch.no_grad():
            return family.inputs(self.images.double() / 127.5 - 1)

    def wanted(self, family, noise_seed=None):
        inputs = self.clean(family)
        if noise_seed is not None:
            torch.manual_seed(noise_seed)
            inputs = family.noised(inputs, torch.randn_like(inputs), self.t)
        return reference(family, inputs, self.t)

    def same(self, family, found, wanted, rtol=1e-10, atol=1e-10):
        for path, feature in found.items():
            feature = as_tokens(family, feature, wanted[path])
            torch.testing.assert_close(
                feature.double(), wanted[path].double(), rtol=rtol, atol=atol,
                msg=lambda text, path=path: f'{path}: {text}')

    def all_paths(self, family):
        """Every module path that gives a tensor, clean and noised."""
        wanted = self.wanted(family)
        paths = list(wanted)
        fired = [path for path, module in family.denoiser.named_modules()
                 if path and type(module).forward is not
                 torch.nn.Module.forward]
        assert len(paths) > 20 and set(paths) <= set(fired)
        clean = self.teacher(family, paths)
        images = self.images.double()
        inputs, args, kwargs = clean.call(
            clean.encode(images), self.t, self.labels)
        own = clean.own_features(inputs, *args, **kwargs)
        self.same(family, own, wanted)
        # every set of tokens of the image is a map
        for path, feature in own.items():
            if wanted[path].dim() == 3 and feature.dim() == 3:
                assert family.is_text(path), path
        single = clean(images, self.t, self.labels)
        assert all(one.dtype == torch.float32 for one in single.values())
        self.same(family, single, wanted, 1e-5, 1e-5)
        for path in paths:
            assert clean.feature_shapes[path] == own[path].shape[1:], path
        noisy = self.teacher(family, paths, add_noise=True)
        wanted = self.wanted(family, noise_seed=3)
        inputs = noisy.encode(images)
        torch.manual_seed(3)
        inputs, args, kwargs = noisy.call(inputs, self.t, self.labels)
        self.same(family, noisy.own_features(inputs, *args, **kwargs), wanted)
        return paths

    def early_exit(self, family, paths):
        """Behind the tap nothing is computed, and no weights are held."""
        calls = []
        wanted = reference(family, self.clean(family), self.t, calls)
        for path in paths:
            before = calls[:max(
                index for index, call in enumerate(calls)
                if call == (path, True)) + 1]
            teacher = self.teacher(family, [path])
            fired = []
            for name, module in teacher.network.named_modules():
                module.register_forward_hook(
                    lambda *_, name=name, fired=fired: fired.append(name))
            found = teacher(self.images.double(), self.t, self.labels)
            self.same(family, found, wanted, 1e-5, 1e-5)
            returned = {name for name, returns in before if returns}
            assert set(fired) <= returned | {''}, path
            for name in {name for name, _ in calls} - {
                    name for name, _ in before}:
                weights = teacher.network.get_submodule(
                    name)._parameters.values()
                if name.split('.')[0] not in family.read_early:
                    assert all(weight is None for weight in weights), name
            assert not teacher.state_dict()

    def switches(self, family, taps):
        """Compiled, bfloat16, channels-last, and as a bank stores it."""
        from repfusion_mm.models.teachers.bank.computing import compute_rows
        plain = self.teacher(family, taps, double=False)
        wanted = plain(self.images, self.t, self.labels)
        for cfg, tolerance in (
                (dict(compile=dict(backend='eager')), 0.),
                (dict(channels_last=True), 1e-4),
                (dict(dtype='float32'), 0.),
                (dict(dtype='bfloat16'), 0.1)):
            other = self.teacher(family, taps, double=False, **cfg)
            for _ in range(2):
                found = other(self.images, self.t, self.labels)
            for tap in taps:
                error = (found[tap] - wanted[tap]).norm() / \
                    wanted[tap].norm()
                assert error <= tolerance, (cfg, tap, float(error))
        if self.labels is None:
            rows = compute_rows(plain, self.images, torch.arange(3), self.t,
                                taps, torch.device('cpu'))
            pooled = torch.cat([wanted[tap].flatten(2).mean(2)
                                for tap in taps], 1)
            assert torch.equal(torch.from_numpy(rows), pooled.half())
        # the mean over draws is that of the draws
        draws = self.teacher(family, taps, double=False, add_noise=2)
        one = self.teacher(family, taps, double=False, add_noise=True)
        torch.manual_seed(5)
        mean = draws(self.images, self.t, self.labels)
        torch.manual_seed(5)
        a, b = (one(self.images, self.t, self.labels) for _ in range(2))
        for tap in taps:
            torch.testing.assert_close(mean[tap], (a[tap] + b[tap]) / 2)


Family.read_early = ('conv_in', )  # the denoiser reads its type
Family.is_text = staticmethod(
    lambda path: path.endswith(('attn2.to_k', 'attn2.to_v')))


@pytest.fixture(scope='session')
def family():
    return Family


@pytest.fixture
def proof(build):
    torch.manual_seed(2)
    return Proof(build)


@pytest.fixture(scope='session')
def save():
    """Writes parts and an index as a pipeline's ``save_pretrained`` does.

    The pipelines themselves want transformers, which is not always there.
    """
    def write(folder, pipeline, index=None, **parts):
        names = {}
        for name, part in parts.items():
            part.save_pretrained(folder / name)
            names[name] = ['diffusers', type(part).__name__]
        (folder / 'model_index.json').write_text(json.dumps(
            dict(_class_name=pipeline, **names, **(index or {}))))
        return folder

    return write


@pytest.fixture(scope='session')
def tiny_vae():
    """An autoencoder of 4 pixels a side of a latent."""
    from diffusers import AutoencoderKL

    def make(latent_channels=4, **config):
        torch.manual_seed(7)
        return AutoencoderKL(
            block_out_channels=(8, 8, 8), norm_num_groups=4,
            latent_channels=latent_channels,
            down_block_types=('DownEncoderBlock2D', ) * 3,
            up_block_types=('UpDecoderBlock2D', ) * 3, **config).eval()

    return make


@pytest.fixture
def stored(tmp_path):
    """Puts a prompt into a store, as if it had been encoded before."""
    def put(teacher_cfg, prompts, build):
        from repfusion_mm.models.teachers.diffusion.conditions import (
            text_encoders,
        )
        from repfusion_mm.models.teachers.diffusion.conditions.store import (
            ConditionStore,
        )
        teacher = build(teacher_cfg)
        layout = teacher.source.layout
        encoders = text_encoders.TextEncoders(
            layout.files, layout.index, teacher.source.text_parts)
        store = ConditionStore(teacher_cfg['condition_dir'],
                               encoders.identity)
        for prompt, encoded in prompts.items():
            store.put(prompt, encoded)

    return put


@pytest.fixture(scope='session')
def name_encoders():
    """Puts text encoders into a folder, of which the names are enough."""
    def put(folder, *suffixes):
        index = json.loads((folder / 'model_index.json').read_text())
        for suffix in suffixes:
            for part, kind in (('tokenizer', 'T5Tokenizer'),
                               ('text_encoder', 'T5EncoderModel')):
                index[part + suffix] = ['transformers', kind]
                (folder / (part + suffix)).mkdir()
                (folder / (part + suffix) / 'config.json').write_text('{}')
        (folder / 'model_index.json').write_text(json.dumps(index))

    return put
