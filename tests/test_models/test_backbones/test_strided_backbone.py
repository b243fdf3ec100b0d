import pytest
import torch

from repfusion_mm.models.utils.building import build_part

MOBILE = dict(backbone=dict(type='mmpretrain.MobileNetV2'),
              strides={'conv1.conv': 1, 'layer2.0.conv.1.conv': 1})
SHUFFLE = dict(backbone=dict(type='mmpretrain.ShuffleNetV2'),
               strides={'conv1.conv': 1, 'maxpool': 1})


@pytest.fixture
def strided(build):
    return lambda **cfg: build(dict(type='repfusion_mm.StridedBackbone',
                                    **cfg))


@pytest.mark.parametrize('cfg', [MOBILE, SHUFFLE])
def test_strides(strided, cfg):
    ours, stock = strided(**cfg), build_part('', cfg['backbone'])
    ours.eval(), stock.eval()  # mmpretrain's return nothing
    assert type(ours) is type(stock)
    image = torch.rand(1, 3, 32, 32)
    assert stock(image)[-1].shape[2:] == (1, 1)
    assert ours(image)[-1].shape[2:] == (4, 4)
    # the weights fit each other
    stock.load_state_dict(ours.state_dict(), strict=True)


def test_same_where_no_stride_is_changed(strided):
    ours = strided(backbone=MOBILE['backbone'], strides={})
    stock = build_part('', MOBILE['backbone'])
    ours.eval(), stock.eval()
    stock.load_state_dict(ours.state_dict())
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(ours(image), stock(image))


def test_init_cfg(strided, tmp_path):
    wanted = strided(**SHUFFLE)
    torch.save({'state_dict': {f'backbone.{key}': value for key, value
                               in wanted.state_dict().items()}},
               tmp_path / 'student.pth')
    ours = strided(**SHUFFLE, init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'student.pth'),
        prefix='backbone.'))
    ours.init_weights()
    for key, value in ours.state_dict().items():
        assert torch.equal(value, wanted.state_dict()[key])


def test_unknown_layer(strided):
    with pytest.raises(ValueError, match='`backbone.strides`.*conv3.conv.*'
                       'nearest.*conv1.conv'):
        strided(backbone=SHUFFLE['backbone'], strides={'conv3.conv': 1})
