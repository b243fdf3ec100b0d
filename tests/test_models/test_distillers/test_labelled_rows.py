"""Whatever its heads and losses are, a task learns from its labelled images
as it would from them alone, but that its batch norms see all."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData
from torch.nn.modules.batchnorm import _BatchNorm

from repfusion_mm.models.distillers.labelled_rows import (
    heads_see_batch,
    only_rows,
    take_rows,
)
from repfusion_mm.models.utils.building import build_part

SIDE, ROWS = 32, [1, 3, 4]
BN = dict(type='BN')


def segmentor(decode_head, auxiliary_head=None, **more):
    head = dict(in_channels=32, in_index=3, channels=8, num_classes=5,
                norm_cfg=BN, dropout_ratio=0, loss_decode=dict(
                    type='CrossEntropyLoss'))
    return dict(**{
        'type': 'mmseg.EncoderDecoder',
        'backbone': dict(type='ResNet', depth=18, base_channels=4,
                         stem_channels=4, norm_cfg=BN, strides=(1, 1, 2, 2)),
        'decode_head': {**head, **decode_head},
        'train_cfg': dict(), 'test_cfg': dict(mode='whole'),
        'auxiliary_head': auxiliary_head and {**head, **auxiliary_head},
        **more})


def masks(num=6, classes=5, ignored=(0, 2, 5), ignore_index=255):
    from mmseg.structures import SegDataSample
    samples = []
    for row in range(num):
        mask = torch.randint(classes, (1, SIDE, SIDE))
        mask[:, row:2 * row] = ignore_index  # some pixels have no label
        if row in ignored:
            mask.fill_(ignore_index)
        samples.append(SegDataSample(
            metainfo=dict(img_shape=(SIDE, SIDE)),
            gt_sem_seg=PixelData(data=mask),
            gt_edge_map=PixelData(data=(mask[:, :1] % 2).expand_as(mask))))
    return samples


def fix_statistics(task):
    for module in task.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def both(task, samples, dtype=torch.double):
    """Losses of the rows, and of a batch of these rows alone."""
    task = build_part('task', task).to(dtype).train()
    fix_statistics(task)
    for parameter in task.parameters():  # heads start near zero
        torch.nn.init.normal_(parameter, std=0.2)
    inputs = torch.randn(len(samples), 3, SIDE, SIDE, dtype=dtype)
    some = [samples[row] for row in ROWS]
    alone = task.loss(inputs[ROWS], some)
    with only_rows(task, samples, some, torch.tensor(ROWS)):
        ours = task.loss(inputs, samples)
    assert not {'loss', 'forward'} & set(vars(task.children().__next__()))
    return task, ours, alone


LOSSES = {
    'ce': dict(type='CrossEntropyLoss'),
    'ce over labelled': dict(type='CrossEntropyLoss', avg_non_ignore=True),
    'ce of weighted classes': dict(type='CrossEntropyLoss',
                                   class_weight=[1., 2., 3., 4., 5.]),
    'sigmoid': dict(type='CrossEntropyLoss', use_sigmoid=True),
    'dice': dict(type='DiceLoss'),
    'naive dice': dict(type='DiceLoss', use_sigmoid=False, naive_dice=True),
    'lovasz': dict(type='LovaszLoss', reduction='none'),
    'lovasz of images': dict(type='LovaszLoss', per_image=True),
    'tversky': dict(type='TverskyLoss'),
    'two': [dict(type='CrossEntropyLoss'), dict(type='DiceLoss')],
}


@pytest.mark.parametrize('name', LOSSES)
def test_losses_of_mmseg(name):
    task = segmentor(dict(type='FCNHead', loss_decode=LOSSES[name]))
    dtype = torch.float if 'lovasz' in name else torch.double
    task, ours, alone = both(task, masks(), dtype)
    assert heads_see_batch(task)
    assert set(ours) == set(alone) and len(ours) > 1
    for key, loss in alone.items():
        torch.testing.assert_close(ours[key], loss)
        assert loss.isfinite() and loss != 0, key


SPECIAL = {
    'hard pixels': dict(type='FCNHead', sampler=dict(
        type='OHEMPixelSampler', thresh=0.7, min_kept=100)),
    'one channel': dict(
        type='FCNHead', num_classes=2, out_channels=1, loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=True)),
    'one class': dict(type='FCNHead', num_classes=1, loss_decode=dict(
        type='CrossEntropyLoss', use_sigmoid=True)),
    'two logits': dict(
        type='EncHead', num_codes=4, in_channels=[16, 32], in_index=[2, 3],
        loss_se_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)),
    'three logits': dict(type='DAHead', pam_channels=8),
    'boundaries': dict(type='STDCHead', num_classes=2, loss_decode=[
        dict(type='CrossEntropyLoss', loss_name='loss_ce'),
        dict(type='DiceLoss', loss_name='loss_dice')]),
}


@pytest.mark.parametrize('name', SPECIAL)
def test_heads_of_mmseg(name):
    head = SPECIAL[name]
    classes = 2 if name in ('one channel', 'one class', 'boundaries') else 5
    task, ours, alone = both(
        segmentor(head, dict(type='FCNHead', in_channels=16, in_index=2,
                             norm_cfg=None)), masks(classes=classes))
    assert heads_see_batch(task)
    for key, loss in alone.items():
        torch.testing.assert_close(ours[key], loss)


def test_ignored_zero():
    head = dict(type='FCNHead', ignore_index=0, loss_decode=dict(
        type='CrossEntropyLoss', avg_non_ignore=True))
    _, ours, alone = both(segmentor(head), masks(ignore_index=0))
    torch.testing.assert_close(ours, alone)


def test_cascade():
    """PointRend's second head has no batch norm, and a loss of its own."""
    task = segmentor(
        {}, type='mmseg.CascadeEncoderDecoder', num_stages=2,
        train_cfg=ConfigDict(num_points=16, oversample_ratio=3,
                             importance_sample_ratio=0.75))
    common = dict(num_classes=5, channels=8, loss_decode=dict(
        type='CrossEntropyLoss'))
    task['decode_head'] = [
        dict(common, type='FCNHead', in_channels=32, in_index=3, norm_cfg=BN),
        dict(common, type='PointHead', in_channels=[4], in_index=[0],
             num_fcs=1)]
    task = build_part('task', task).train()
    assert heads_see_batch(task)
    samples = masks()
    with only_rows(task, samples, [samples[row] for row in ROWS],
                   torch.tensor(ROWS)):
        losses = task.loss(torch.randn(6, 3, SIDE, SIDE), samples)
    assert {'decode_0.loss_ce', 'decode_1.pointloss_ce'} <= set(losses)


POOLING = {
    'PSP': dict(type='PSPHead'),
    'ASPP': dict(type='DepthwiseSeparableASPPHead', c1_in_channels=4,
                 c1_channels=4, dilations=(1, 2)),
    'UPer': dict(type='UPerHead', in_channels=[4, 8, 16, 32],
                 in_index=[0, 1, 2, 3]),
}


@pytest.mark.parametrize('name', POOLING)
def test_one_labelled_image(name):
    """A map that is pooled to one pixel has batch norms behind it."""
    task = build_part('task', segmentor(POOLING[name])).train()
    inputs, samples = torch.randn(4, 3, SIDE, SIDE), masks(4, 5, (0, 1, 3))
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        task.loss(inputs[2:3], samples[2:3])
    with only_rows(task, samples, samples[2:3], torch.tensor([2])):
        losses = task.loss(inputs, samples)
    losses['decode.loss_ce'].backward()
    assert task.decode_head.conv_seg.weight.grad.abs().sum() > 0


def test_statistics_are_of_all_images():
    task = build_part('task', segmentor(dict(
        type='FCNHead', num_convs=1, concat_input=False))).train()
    inputs, samples = torch.randn(6, 3, SIDE, SIDE), masks()
    with only_rows(task, samples, [samples[1]], torch.tensor([1])):
        task.loss(inputs, samples)
    fix_statistics(task.backbone)
    layer = task.decode_head.convs[0]
    assert layer.bn.num_batches_tracked == 1
    seen = []
    layer.conv.register_forward_hook(lambda *args: seen.append(args[2]))
    with torch.no_grad():
        mean = layer.bn.running_mean.clone()
        task.train()
        layer.bn.reset_running_stats()
        task.decode_head(task.backbone(inputs))
    torch.testing.assert_close(mean, 0.1 * seen[0].mean((0, 2, 3)))


def classes(num=6):
    from mmpretrain.structures import DataSample
    return [DataSample().set_gt_label(row % 5) for row in range(num)]


CLASSIFIERS = {
    'stacked': dict(type='StackedLinearClsHead', num_classes=5,
                    in_channels=32, mid_channels=[8],
                    norm_cfg=dict(type='BN1d')),
    'LeViT': dict(type='LeViTClsHead', num_classes=5, in_channels=32,
                  distillation=False),
    'linear': dict(type='LinearClsHead', num_classes=5, in_channels=32),
    'several labels': dict(type='MultiLabelLinearClsHead', num_classes=5,
                           in_channels=32),
}


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_heads_of_mmpretrain(name):
    task = dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                      base_channels=4),
        neck=dict(type='GlobalAveragePooling'), head=CLASSIFIERS[name])
    task, ours, alone = both(task, classes())
    assert heads_see_batch(task) == (name in ('stacked', 'LeViT'))
    torch.testing.assert_close(ours, alone)
    task.train()
    samples = classes()
    with only_rows(task, samples, samples[2:3], torch.tensor([2])):
        task.loss(torch.randn(6, 3, SIDE, SIDE).double(), samples)


def points(num=6, keypoints=5):
    from mmpose.structures import PoseDataSample
    samples = []
    for row in range(num):
        sample = PoseDataSample()
        sample.gt_fields = PixelData(heatmaps=torch.rand(
            keypoints, 8, 8, dtype=torch.double))
        weights = torch.rand(1, keypoints, dtype=torch.double)
        sample.gt_instance_labels = InstanceData(
            keypoint_weights=weights * (row in ROWS),
            keypoint_labels=torch.rand(1, keypoints, 2, dtype=torch.double),
            keypoint_x_labels=torch.rand(1, keypoints, 64).softmax(
                -1).double(),
            keypoint_y_labels=torch.rand(1, keypoints, 64).softmax(
                -1).double())
        samples.append(sample)
    return samples


def heatmap(**loss):
    return dict(type='HeatmapHead', in_channels=32, out_channels=5,
                deconv_out_channels=(8, ), deconv_kernel_sizes=(4, ),
                loss=loss)


SIMCC = dict(in_channels=32, out_channels=5, input_size=(32, 32),
             in_featuremap_size=(4, 4), simcc_split_ratio=2.0,
             decoder=dict(type='SimCCLabel', input_size=(32, 32)))
ESTIMATORS = {
    'mse': heatmap(type='KeypointMSELoss'),
    'weighted mse': heatmap(type='KeypointMSELoss', use_target_weight=True),
    'no empty channel': heatmap(type='KeypointMSELoss',
                                skip_empty_channel=True),
    'hard keypoints': heatmap(type='KeypointOHKMMSELoss', topk=3,
                              use_target_weight=True),
    'wing': heatmap(type='AdaptiveWingLoss', use_target_weight=True),
    'simcc': dict(SIMCC, type='SimCCHead', deconv_out_channels=None,
                  loss=dict(type='KLDiscretLoss', use_target_weight=True)),
    'rtmcc': dict(SIMCC, type='RTMCCHead', final_layer_kernel_size=1,
                  gau_cfg=dict(
                      hidden_dims=16, s=8, expansion_factor=2,
                      dropout_rate=0., drop_path=0., act_fn='SiLU',
                      use_rel_bias=False, pos_enc=False),
                  loss=dict(type='KLDiscretLoss', use_target_weight=True)),
    'regression': dict(type='RegressionHead', in_channels=32, num_joints=5,
                       loss=dict(type='SmoothL1Loss',
                                 use_target_weight=True)),
    'rle': dict(type='RLEHead', in_channels=32, num_joints=5, loss=dict(
        type='RLELoss', use_target_weight=True)),
}


@pytest.mark.parametrize('name', ESTIMATORS)
def test_heads_of_mmpose(name):
    pooled = name in ('regression', 'rle')
    task = dict(type='mmpose.TopdownPoseEstimator',
                backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18,
                              stem_channels=4, base_channels=4),
                head=ESTIMATORS[name])
    if pooled:
        task['neck'] = dict(type='GlobalAveragePooling')
    task, ours, alone = both(task, points())
    has_norms = any(isinstance(module, _BatchNorm)
                    for module in task.head.modules())
    assert heads_see_batch(task) == has_norms
    assert any('loss' in key for key in ours)
    torch.testing.assert_close(ours, alone)


def test_a_loss_of_another_kind():
    """A head that reads its features otherwise gets its own rows only."""
    task = build_part('task', segmentor(dict(type='FCNHead')))
    assert heads_see_batch(task)

    class Own(type(task.decode_head)):

        def loss(self, inputs, batch_data_samples, train_cfg):
            return dict(loss_norm=inputs[-1].mean())

    task.decode_head.__class__ = Own
    assert not heads_see_batch(task)


def test_a_head_that_is_not_asked():
    task = build_part('task', segmentor(dict(type='FCNHead')))
    samples = masks()
    with pytest.raises(RuntimeError, match='EncoderDecoder does not ask'):
        with only_rows(task, samples, samples[:1], torch.tensor([0])):
            pass
    assert 'loss' not in vars(task.decode_head)


def test_take_rows():
    rows, x = torch.tensor([2, 0]), torch.arange(6).view(3, 2)
    got = take_rows(dict(a=[x, (x, None)], b='text', c=3), rows)
    assert got['b'] == 'text' and got['c'] == 3 and got['a'][1][1] is None
    for one in (got['a'][0], got['a'][1][0]):
        assert one.tolist() == [[4, 5], [0, 1]]
