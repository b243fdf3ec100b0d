"""DiT: a transformer of latents that is told a class."""
import copy

import pytest
import torch

SIZE = (32, 32)  # diffusers' DiT takes squares alone
CLASSES = 6
TAPS = ['transformer_blocks.0.norm1', 'transformer_blocks.1.attn1.to_k']


@pytest.fixture(scope='module')
def parts():
    from diffusers import DDIMScheduler, DiTTransformer2DModel
    torch.manual_seed(4)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=6, out_channels=8,
        num_layers=3, sample_size=16, num_embeds_ada_norm=CLASSES)
    return transformer.eval(), DDIMScheduler(
        beta_start=0.0001, beta_end=0.02, clip_sample=False)


@pytest.fixture
def dit(parts, family, save, tiny_vae, tmp_path, proof):
    transformer, scheduler = parts
    vae = tiny_vae()
    folder = save(tmp_path / 'dit', 'DiTPipeline', transformer=transformer,
                  vae=vae, scheduler=scheduler, index=dict(
                      id2label={str(i): f'{i}' for i in range(CLASSES)}))
    vae = copy.deepcopy(vae).double()
    proof.images = proof.images[..., :SIZE[1]].contiguous()

    def make(classes=(CLASSES, ) * 3, **cfg):
        return family(
            folder, copy.deepcopy(transformer).double(),
            # as DiTPipeline.__call__ does
            lambda denoiser, x, t: denoiser(
                x, timestep=t, class_labels=torch.tensor(classes)),
            noised=scheduler.add_noise,
            inputs=lambda images: vae.encode(images).latent_dist.mean
            * vae.config.scaling_factor,
            grids=[(4, 4)], image_size=SIZE, **cfg)

    return make


def test_all_paths(proof, dit):
    paths = proof.all_paths(dit())
    assert 'transformer_blocks.1.norm1' in paths


@pytest.mark.slow
def test_class(proof, dit):
    proof.all_paths(dit((2, ) * 3, condition=dict(fixed=2)))


@pytest.mark.slow
def test_class_map(proof, dit):
    proof.labels = torch.tensor([1, 0, 1])
    family = dit((4, 3, 4), condition=dict(class_map=[3, 4]))
    proof.all_paths(family)
    proof.switches(family, TAPS)


def test_average(proof, dit):
    """The mean of the classes' embeddings, in every block."""
    family = dit(condition=dict(average='all'))
    for block in family.denoiser.transformer_blocks:
        table = block.norm1.emb.class_embedder.embedding_table.weight
        with torch.no_grad():
            table[CLASSES] = table[:CLASSES].mean(0)
    teacher = proof.teacher(family, TAPS)
    proof.same(family, teacher(proof.images.double(), proof.t),
               proof.wanted(family), 1e-5, 1e-5)


def test_early_exit(proof, dit):
    proof.early_exit(dit(), TAPS)


@pytest.mark.slow
def test_early_exit_of_every_path(proof, dit):
    family = dit()
    proof.early_exit(family, list(proof.wanted(family)))


@pytest.mark.slow
def test_switches(proof, dit):
    proof.switches(dit(), TAPS)


def test_modulated(proof, dit):
    """``norm1`` gives the hidden states after the adaptive layer norm."""
    family = dit()
    found = {}
    block = family.denoiser.transformer_blocks[1]
    block.norm1.register_forward_hook(
        lambda module, args, kwargs, output: found.update(x=args[0]),
        with_kwargs=True)
    block.norm1.linear.register_forward_hook(
        lambda module, args, output: found.update(emb=output))
    wanted = proof.wanted(family)['transformer_blocks.1.norm1']
    x = found['x']
    shift, scale = found['emb'].chunk(6, 1)[:2]
    x = (x - x.mean(-1, True)) / (x.var(-1, False, True) + 1e-6).sqrt()
    torch.testing.assert_close(wanted, x * (1 + scale[:, None])
                               + shift[:, None])


def test_native_size(proof, dit):
    family = dit()
    teacher = proof.build(dict(family.teacher, image_size=None, taps=TAPS))
    assert teacher.image_size == (64, 64)
    assert teacher.feature_shapes[TAPS[0]] == (12, 8, 8)


@pytest.mark.parametrize('size, match', [
    ((32, 40), 'squares alone; nearest: 32 or 40'),
    (36, 'is 8 pixels a side.*nearest: 32 or 40')])
def test_sizes(proof, dit, size, match):
    family = dit()
    with pytest.raises(ValueError, match=f'`teacher.image_size`.*{match}'):
        proof.build(dict(family.teacher, image_size=size, taps=TAPS))


def test_wrong_class(proof, dit):
    with pytest.raises(ValueError, match='names the class 6.* 0 to 5'):
        proof.build(dict(dit(condition=dict(fixed=CLASSES)).teacher,
                         taps=TAPS))
