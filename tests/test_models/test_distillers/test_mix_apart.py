import copy

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.structures import DataSample

from repfusion_mm.models.distillers.mix_apart import MixApart, mix_apart
from repfusion_mm.models.labels import labelled_mask
from repfusion_mm.models.utils.building import build_part

MIXUP = [dict(type='Mixup', alpha=0.8)]
EACH = [MIXUP, [dict(type='CutMix', alpha=1.)],
        [dict(type='ResizeMix', alpha=1.)]]
# every image is of one grey, which says whose it is
GREYS = [10., 20., 30., 40., 50., 60.]


@pytest.fixture
def preprocessor():

    def make(augments=None, **more):
        augments = augments and dict(augments=augments)
        return build_part('data_preprocessor', dict(
            type='mmpretrain.ClsDataPreprocessor', num_classes=6,
            batch_augments=augments, **more))

    return make


def batch(labels):
    return dict(
        inputs=[torch.full((3, 8, 8), grey) for grey in GREYS[:len(labels)]],
        data_samples=[DataSample().set_gt_label(label) for label in labels])


def seeded(preprocessor, data, training=True):
    torch.manual_seed(1)
    np.random.seed(1)
    return preprocessor(copy.deepcopy(data), training)


@pytest.mark.parametrize('augments', EACH)
@pytest.mark.parametrize('labels', [[0, -1, 2, -1, 4, -1],
                                    [-1, -1, -1, 3, -1, -1]])
def test_labelled_with_labelled(preprocessor, augments, labels):
    ours = preprocessor(augments)
    mix_apart(ours)
    out = seeded(ours, batch(labels))
    labelled = labelled_mask(out['data_samples']).tolist()
    assert labelled == [label >= 0 for label in labels]
    known = [label for label in labels if label >= 0]
    for image, sample, one in zip(out['inputs'], out['data_samples'],
                                  labelled):
        # which images are in it (all are pasted or summed, none is black)
        shares = {row: (image == grey).any() for row, grey
                  in enumerate(GREYS)}
        strangers = [row for row, share in shares.items()
                     if share and (labels[row] >= 0) != one]
        assert not strangers
        if one:
            assert sample.gt_score[known].sum().item() == pytest.approx(1)
        else:
            assert sample.gt_label.tolist() == [-1]
            assert (sample.gt_score == -1).all()


def test_image_and_score_are_mixed_alike(preprocessor):
    ours = preprocessor(MIXUP)
    mix_apart(ours)
    out = seeded(ours, batch([0, -1, 2, 3, 4, -1]))  # the class is the row
    for row in (0, 2, 3, 4):
        score = out['data_samples'][row].gt_score
        assert out['inputs'][row].mean().item() == pytest.approx(
            (score * torch.tensor(GREYS)).sum().item(), rel=1e-4)
    assert any(out['data_samples'][row].gt_score.max() < 1
               for row in (0, 2, 3, 4))


@pytest.mark.parametrize('augments', EACH)
@pytest.mark.parametrize('training', [True, False])
def test_all_labelled_is_as_before(preprocessor, augments, training):
    stock, ours = preprocessor(augments), preprocessor(augments)
    mix_apart(ours)
    data = batch([0, 1, 2, 3])
    one, other = (seeded(each, data, training) for each in (stock, ours))
    assert torch.equal(one['inputs'], other['inputs'])
    for a, b in zip(one['data_samples'], other['data_samples']):
        assert torch.equal(a.gt_score, b.gt_score)


def test_none_labelled(preprocessor):
    ours = preprocessor(MIXUP)
    mix_apart(ours)
    out = seeded(ours, batch([-1, -1, -1]))
    assert not labelled_mask(out['data_samples']).any()
    assert not torch.equal(out['inputs'][:, 0, 0, 0],
                           torch.tensor(GREYS[:3]))  # mixed all the same


def test_one_hot_without_mixing(preprocessor):
    ours = preprocessor(to_onehot=True)
    mix_apart(ours)
    samples = ours(batch([3, -1]), True)['data_samples']
    assert samples[0].gt_score.tolist() == [0, 0, 0, 1, 0, 0]
    assert labelled_mask(samples).tolist() == [True, False]


def test_scores_of_some(preprocessor):
    """FewLabels leaves no score where it hides a label."""
    ours = preprocessor()
    mix_apart(ours)
    data = batch([-1, -1])
    data['data_samples'][0] = DataSample().set_gt_label([0, 2]).set_gt_score(
        [1., 0., 1.])
    samples = ours(data, True)['data_samples']
    assert samples[0].gt_score.tolist() == [1, 0, 1]
    assert labelled_mask(samples).tolist() == [True, False]


def test_samples_without_labels(preprocessor):
    ours = preprocessor(MIXUP)
    mix_apart(ours)
    data = dict(inputs=batch([0, 0])['inputs'],
                data_samples=[DataSample(), DataSample()])
    assert len(ours(data, True)['inputs']) == 2
    assert len(ours(dict(inputs=data['inputs']), True)['inputs']) == 2


def test_read_on_the_host(preprocessor):
    """What has been noted is not read again from where the batch is now."""
    ours = preprocessor(MIXUP)
    mix_apart(ours)
    data = batch([0, -1, -1])
    ours.batch_augments.note(data['data_samples'])
    assert [sample.labelled for sample in data['data_samples']] == [
        True, False, False]
    data['data_samples'][0].set_metainfo(dict(labelled=False))
    samples = ours(data, True)['data_samples']
    assert labelled_mask(samples).tolist() == [False, False, False]
    ours.batch_augments.note([DataSample()])


def test_others_stay(preprocessor):
    module = build_part('data_preprocessor', dict(
        type='mmengine.ImgDataPreprocessor'))
    mix_apart(module)
    assert not module._forward_pre_hooks
    ours = preprocessor(MIXUP)
    mix_apart(ours)
    mix_apart(ours)  # the same one in a second model
    assert isinstance(ours.batch_augments, MixApart)
    assert not isinstance(ours.batch_augments.augment, MixApart)
    again = copy.deepcopy(ours)  # for EMA
    pre, = again._forward_pre_hooks.values()
    assert pre.__self__ is again.batch_augments is not ours.batch_augments


@pytest.fixture
def joint(build, pipeline_folder):
    module = build(dict(
        type='repfusion_mm.JointRepFusion',
        task=dict(
            type='mmpretrain.ImageClassifier',
            data_preprocessor=dict(num_classes=10, mean=[127.5] * 3,
                                   std=[127.5] * 3),
            backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                          base_channels=4),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=10, in_channels=32),
            train_cfg=dict(augments=[*MIXUP, *EACH[1]])),
        teacher=dict(type='repfusion_mm.UNetTeacher',
                     pretrained=pipeline_folder),
        time_sampler=dict(type='repfusion_mm.UniformTime'),
        connections=[dict(student_tap='backbone.layer4',
                          teacher_tap='mid_block.resnets.1')]))
    module.init_weights()
    return module


@pytest.mark.parametrize('labels', [[0, 5, 2, 3], [0, -1, -1, 3],
                                    [-1, 1, -1, -1], [-1, -1, -1, -1]])
@pytest.mark.parametrize('checked', [True, False])
def test_joint(joint, samples, labels, checked):
    data = dict(inputs=torch.randint(256, (4, 3, 32, 32)).byte(),
                data_samples=samples(labels))
    for module in joint.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    if checked:
        joint.check_samples(data['data_samples'])
    data = joint.data_preprocessor(data, True)
    losses = joint(**data, mode='loss')
    known = [row for row, label in enumerate(labels) if label >= 0]
    assert ('loss_task' in losses) == bool(known)
    if known:
        scores = torch.stack([data['data_samples'][row].gt_score
                              for row in known])
        logits = joint.task(data['inputs'])[known]
        wanted = -(logits.log_softmax(1) * scores).sum(1).mean()
        torch.testing.assert_close(losses['loss_task'], wanted)


def test_stage_one(build, repfusion, samples):
    """Of unlabelled images alone there are mixtures, too."""
    module = build(repfusion(
        data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3,
            std=[127.5] * 3, num_classes=10,
            batch_augments=dict(augments=MIXUP)),
        reward=None, time_sampler=dict(type='repfusion_mm.UniformTime')))
    module.init_weights()
    for labels in ([-1, -1, -1], [-1, 3, 1]):
        data = dict(inputs=torch.randint(256, (3, 3, 16, 16)).byte(),
                    data_samples=samples(labels))
        module.check_samples(data['data_samples'])
        assert [sample.labelled for sample in data['data_samples']] == [
            label >= 0 for label in labels]
        log = module.train_step(data, OptimWrapper(
            torch.optim.SGD(module.parameters(), 0.1)))
        assert log['loss'] > 0
