"""timm's transformers as teachers, against timm's own forward pass."""
import pytest
import torch

timm = pytest.importorskip('timm')
BLOCK = 'backbone.timm_model.blocks.3'


@pytest.mark.parametrize('name, size, prefix', [
    ('vit_tiny_patch16_224', 224, 1),
    ('vit_small_patch14_dinov2', 112, 1),
    ('vit_small_patch14_reg4_dinov2', 112, 5),
    ('vit_small_patch16_dinov3', 112, 5)])
def test_tokens_as_maps(build, name, size, prefix):
    teacher = build(dict(
        type='repfusion_mm.ClassifierTeacher', image_size=size, taps=[BLOCK],
        model=dict(
            type='mmpretrain.ImageClassifier', head=None,
            data_preprocessor=dict(mean=[120.] * 3, std=[60.] * 3),
            backbone=dict(type='TIMMBackbone', model_name=name,
                          pretrained=False, img_size=size))))
    teacher.init_weights()
    images = torch.rand(2, 3, size, size) * 255
    found = teacher(images, torch.zeros(2).long())[BLOCK]
    model = teacher.network.get_submodule('backbone.timm_model')
    tokens = []
    model.blocks[3].register_forward_hook(
        lambda module, args, output: tokens.append(output))
    whole = timm.create_model(name, img_size=size, num_classes=0).eval()
    # what lies behind the tap is not held
    held = {key: value for key, value in model.state_dict().items()
            if value is not None}
    whole.load_state_dict(held, strict=False)
    whole.blocks[3].register_forward_hook(
        lambda module, args, output: tokens.append(output))
    with torch.no_grad():
        whole((images - 120) / 60)
    wanted = tokens[-1][:, prefix:]  # behind the class and the registers
    side = found.shape[-1]
    assert wanted.shape[1] == side**2 == found.shape[2] * side
    torch.testing.assert_close(
        found, wanted.reshape(2, side, side, -1).permute(0, 3, 1, 2))
