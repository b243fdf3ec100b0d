"""The released architectures, on the meta device."""
import diffusers
import pytest

from repfusion_mm.analysis.teacher_cost import teacher_cost

# parameters are those of the released weights
PUBLISHED = dict(
    sd15=('up_blocks.1', 512, 859_520_964, 769_285_120, 0.546,
          (1280, 32, 32)),
    sd21=('up_blocks.1', 512, 865_910_724, 774_200_320, 0.547,
          (1280, 32, 32)),
    sdxl=('up_blocks.0', 512, 2_567_463_684, 2_449_936_000, 0.809,
          (1280, 32, 32)))
PUBLISHED['ldm-celebahq-256'] = (
    'up_blocks.1', 256, 274_056_163, 245_671_104, 0.501, (672, 32, 32))

PUBLISHED.update({
    'dit-xl-2-256': ('transformer_blocks.13', 256, 749_826_464, 373_576_320,
                     0.500, (1152, 16, 16)),
    'pixart-sigma-1024': ('transformer_blocks.13', 512, 610_856_096,
                          313_241_472, 0.501, (1152, 32, 32)),
    'sd3-medium': ('transformer_blocks.9.norm1', 512, 2_028_328_000,
                   793_648_128, 0.379, (1536, 32, 32)),
    'flux-schnell': ('single_transformer_blocks.9.norm', 512, 11_891_178_560,
                     7_794_259_712, 0.492, (3072, 32, 32)),
    'sana-1600m-1024': ('transformer_blocks.9', 512, 1_604_462_752,
                        825_184_640, 0.504, (2240, 16, 16))})


@pytest.mark.slow
@pytest.mark.parametrize('name', PUBLISHED)
def test_published(build, root, name):
    tap, size, params, kept, share, shape = PUBLISHED[name]
    if name.startswith('sana') and not hasattr(
            diffusers, 'SanaTransformer2DModel'):
        pytest.skip('this diffusers has no Sana')
    teacher = build(dict(
        type='repfusion_mm.DiffusionTeacher', image_size=size, taps=[tap],
        pretrained=str(root / 'tests/published' / name)))
    assert teacher.feature_shapes == {tap: shape}
    cost = teacher_cost(teacher, [tap])
    assert (cost.params, cost.kept) == (params, kept)
    assert cost.share == pytest.approx(share, abs=1e-3)
    # and the table of the documentation
    text = (root / 'docs/teachers.md').read_text()
    assert f'{share:.2f}' in text
    assert f'{kept / 1e6:,.0f} M of {params / 1e6:,.0f} M' in text


def test_of_a_small_one(build, root):
    """Half of it is in front of the tap, counted by hand."""
    from diffusers import UNet2DModel
    folder = str(root / 'configs/demo/dpm_digits')
    teacher = build(dict(type='repfusion_mm.DiffusionTeacher',
                         pretrained=folder, taps=['conv_in']))
    cost = teacher_cost(teacher, ['conv_in'])
    denoiser = UNet2DModel.from_pretrained(folder, subfolder='unet')
    assert cost.params == sum(p.numel() for p in denoiser.parameters())
    conv = denoiser.conv_in
    height, width = teacher.image_size
    embedding = [layer.weight.numel() for layer in (
        denoiser.time_embedding.linear_1, denoiser.time_embedding.linear_2)]
    assert cost.gflops * 1e9 == pytest.approx(2 * (
        conv.weight.numel() * height * width + sum(embedding)))
