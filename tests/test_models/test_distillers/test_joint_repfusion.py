import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper

TAP = 'mid_block.resnets.1'


def classifier():
    return dict(
        type='mmpretrain.ImageClassifier',
        data_preprocessor=dict(
            type='ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                      base_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=32,
                  loss=dict(type='CrossEntropyLoss')))


def segmentor():
    return dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3,
            bgr_to_rgb=True, size=(32, 32), seg_pad_val=255),
        backbone=dict(type='ResNet', depth=18, base_channels=4,
                      stem_channels=4, norm_cfg=dict(type='BN')),
        decode_head=dict(
            type='FCNHead', in_channels=32, in_index=3, channels=8,
            num_convs=1, num_classes=5, norm_cfg=dict(type='BN'),
            dropout_ratio=0,
            loss_decode=dict(type='CrossEntropyLoss')),
        train_cfg=dict(), test_cfg=dict(mode='whole'))


def pose_estimator():
    return dict(
        type='mmpose.TopdownPoseEstimator',
        data_preprocessor=dict(
            type='PoseDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3,
            bgr_to_rgb=True),
        backbone=dict(type='ResNet', depth=18),
        head=dict(
            type='HeatmapHead', in_channels=512, out_channels=5,
            deconv_out_channels=(8, ), deconv_kernel_sizes=(4, ),
            loss=dict(type='KeypointMSELoss', use_target_weight=True),
            decoder=dict(type='MSRAHeatmap', input_size=(32, 32),
                         heatmap_size=(2, 2), sigma=1)))


def class_samples(labels):
    from mmpretrain.structures import DataSample
    return [DataSample().set_gt_label(label) for label in labels]


def mask_samples(labels):
    """Masks of one class each; -1 is unlabelled."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample
    samples = []
    for label in labels:
        mask = torch.full((1, 32, 32), 255 if label < 0 else label)
        samples.append(SegDataSample(
            metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32),
                          pad_shape=(32, 32), padding_size=[0] * 4),
            gt_sem_seg=PixelData(data=mask)))
    return samples


def point_samples(labels):
    """Heatmaps that peak somewhere; -1 is unlabelled."""
    from mmengine.structures import InstanceData, PixelData
    from mmpose.structures import PoseDataSample
    samples = []
    for label in labels:
        sample = PoseDataSample()
        sample.gt_fields = PixelData(
            heatmaps=torch.rand(5, 2, 2) * (label >= 0))
        sample.gt_instance_labels = InstanceData(
            keypoint_weights=torch.full((1, 5), float(label >= 0)))
        samples.append(sample)
    return samples


TASKS = dict(cls=(classifier, class_samples), seg=(segmentor, mask_samples),
             pose=(pose_estimator, point_samples))


@pytest.fixture
def joint(build, pipeline_folder):

    def make(task='cls', init=True, **parts):
        cfg = dict(
            type='repfusion_mm.JointRepFusion',
            task=TASKS[task][0]() if isinstance(task, str) else task,
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pipeline_folder),
            time_sampler=dict(type='repfusion_mm.UniformTime'),
            connections=[
                dict(student_tap='backbone.layer4', teacher_tap=TAP,
                     loss=dict(type='repfusion_mm.HintLoss'))])
        cfg.update(parts)
        module = build(ConfigDict(cfg))
        if init:
            module.init_weights()
        return module

    return make


@pytest.fixture
def batch():

    def make(task, labels):
        inputs = [torch.randint(256, (3, 32, 32), dtype=torch.uint8)
                  for _ in labels]
        return dict(inputs=inputs, data_samples=TASKS[task][1](labels))

    return make


def fixed_statistics(module):
    """Batch norms that do not depend on the batch."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.eval()


def task_losses(losses):
    """The task's, by its own names."""
    return {'loss' if name == 'loss_task' else name: loss
            for name, loss in losses.items()
            if not name.startswith(('loss_feature', 'mean_'))}


@pytest.mark.parametrize('task', list(TASKS))
@pytest.mark.parametrize('labels', [[1, 2, 3], [1, -1, 3], [-1, -1, 2]])
def test_losses(joint, batch, task, labels):
    """The stock model's losses on the labelled samples, and a distance."""
    module = joint(task, distill_weight=3.)
    module.train()
    fixed_statistics(module)
    data = module.data_preprocessor(batch(task, labels), True)
    rows = [row for row, label in enumerate(labels) if label >= 0]
    stock = module.task.loss(data['inputs'][rows],
                             [data['data_samples'][row] for row in rows])
    losses = module(**data, mode='loss')
    ours = task_losses(losses)
    assert set(ours) == set(stock)
    for name, loss in stock.items():
        torch.testing.assert_close(ours[name], loss)

    # all images are distilled
    layer4 = module.task.backbone(data['inputs'])[-1]
    raw = data['inputs'] * 127.5 + 127.5
    target = module.teacher(raw, module.timesteps)[TAP]
    student = F.interpolate(module.connections[0].projector(layer4),
                            target.shape[2:], mode='bilinear')
    torch.testing.assert_close(losses['loss_feature'],
                               3 * F.mse_loss(student, target))


@pytest.mark.parametrize('task', list(TASKS))
def test_checked_samples(joint, batch, task):
    """What is noted on the host is what the labels say."""
    module = joint(task)
    module.train()
    fixed_statistics(module)
    data = batch(task, [1, -1, 3])
    torch.manual_seed(0)
    losses = module(**module.data_preprocessor(copy.deepcopy(data), True),
                    mode='loss')
    module.check_samples(data['data_samples'])
    assert [sample.labelled for sample in data['data_samples']] == [
        True, False, True]
    data = module.data_preprocessor(data, True)
    assert [sample.labelled for sample in data['data_samples']] == [
        True, False, True]
    torch.manual_seed(0)
    torch.testing.assert_close(module(**data, mode='loss'), losses)


def test_teacher_before_student(joint, batch):
    """The student's activations are not held while the teacher computes."""
    module = joint()
    order = []
    module.task.backbone.register_forward_pre_hook(
        lambda *_: order.append('student'))
    module.teacher.register_forward_pre_hook(
        lambda *_: order.append('teacher'))
    module(**module.data_preprocessor(batch('cls', [1, 2]), True),
           mode='loss')
    assert order == ['teacher', 'student']


@pytest.mark.parametrize('task', list(TASKS))
def test_no_label(joint, batch, task):
    """On one process the task has nothing to say."""
    module = joint(task)
    data = module.data_preprocessor(batch(task, [-1, -1]), True)
    losses = module(**data, mode='loss')
    assert set(losses) == {'loss_feature', 'mean_t'}
    module.parse_losses(losses)[0].backward()
    for name, p in module.named_parameters():
        in_head = 'head' in name
        assert (p.grad is None) == in_head, name
    if task == 'cls':
        assert [s.gt_label.item() for s in data['data_samples']] == [-1, -1]


@pytest.fixture
def several(tmp_path):
    """One of several processes; the others have nothing to say, either."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('task', list(TASKS))
def test_no_label_on_one_of_several(joint, batch, task, several):
    module = joint(task)
    if task == 'seg':  # would divide zero by zero
        module.task.decode_head.loss_decode.avg_non_ignore = True
    module.train()
    data = module.data_preprocessor(batch(task, [-1, -1]), True)
    head = module.task.decode_head if task == 'seg' else module.task.head
    before = copy.deepcopy(head.state_dict())
    losses = module(**data, mode='loss')
    ours = task_losses(losses)
    assert ours and all(loss.item() == 0 for loss in ours.values())
    assert all('loss' in name for name in ours)  # no accuracy of no label
    # the same losses as where there are labels, and the samples as they were
    labelled = module.data_preprocessor(batch(task, [1, 2]), True)
    assert {name for name in module(**labelled, mode='loss')
            if 'loss' in name} == {name for name in losses if 'loss' in name}
    if task == 'cls':
        assert [s.gt_label.item() for s in data['data_samples']] == [-1, -1]
    module.zero_grad()
    module.parse_losses(module(**data, mode='loss'))[0].backward()
    for name, p in module.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        assert 'head' not in name or not p.grad.any(), name
    first = next(module.task.backbone.parameters())
    assert first.grad.abs().sum() > 0
    # a training step of the head was counted once, that with labels
    counts = [value - before[key] for key, value in head.state_dict().items()
              if key.endswith('num_batches_tracked')]
    assert all(count == 1 for count in counts)
    assert bool(counts) == (task != 'cls')


@pytest.mark.parametrize('task', list(TASKS))
def test_training(joint, batch, task):
    module = joint(task)
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    wrapper = OptimWrapper(optimizer)
    data = batch(task, [1, 2, -1, 3])
    totals = [module.train_step(copy.deepcopy(data), wrapper)['loss'].item()
              for _ in range(15)]
    assert totals[-1] < totals[0]


@pytest.mark.parametrize('task', list(TASKS))
def test_predicts_as_its_task(joint, batch, task):
    module = joint(task).eval()
    data = batch(task, [1, 2])
    if task == 'pose':
        pytest.skip('needs boxes; see the tests of the stock tools')
    ours = module.test_step(copy.deepcopy(data))
    stock = module.task.test_step(copy.deepcopy(data))
    for one, other in zip(ours, stock):
        if task == 'cls':
            assert torch.equal(one.pred_score, other.pred_score)
        else:
            assert torch.equal(one.seg_logits.data, other.seg_logits.data)
    inputs = module.data_preprocessor(copy.deepcopy(data))['inputs']
    torch.testing.assert_close(module(inputs), module.task(inputs))


def test_batch_statistics_are_of_all_images(joint, batch):
    module = joint()
    norm = module.task.backbone.bn1
    data = module.data_preprocessor(batch('cls', [1, -1, -1]), True)
    module(**data, mode='loss')
    x = module.task.backbone.conv1(data['inputs'])
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean((0, 2, 3)))
    assert norm.num_batches_tracked == 1  # and the backbone ran once


def test_teacher_is_not_needed_to_test(joint, batch, tmp_path):
    trained = joint()
    missing = dict(type='repfusion_mm.UNetTeacher',
                   pretrained=str(tmp_path / 'gone'))
    module = joint(teacher=missing, init=False)
    module.load_state_dict(trained.state_dict(), strict=True)
    data = batch('cls', [1, 2])
    for one, other in zip(module.eval().test_step(copy.deepcopy(data)),
                          trained.eval().test_step(copy.deepcopy(data))):
        assert torch.equal(one.pred_score, other.pred_score)
    # but to train
    with pytest.raises(FileNotFoundError, match='gone'):
        module.init_weights()
    with pytest.raises(FileNotFoundError, match='gone'):
        module(**module.data_preprocessor(data), mode='loss')


def test_checkpoint(joint):
    keys = joint().state_dict()
    assert {key.split('.')[0] for key in keys} == {'task', 'connections'}


def test_one_data_preprocessor(joint):
    task = classifier()
    preprocessor = task.pop('data_preprocessor')
    module = joint(task, data_preprocessor=dict(
        preprocessor, type='mmpretrain.ClsDataPreprocessor'))
    assert module.data_preprocessor is module.task.data_preprocessor
    assert module.data_preprocessor.mean.flatten().tolist() == [127.5] * 3


def test_answers_for_its_task(joint):
    module = joint()
    assert module.backbone is module.task.backbone
    assert module.head is module.task.head
    assert module.with_neck and module.with_head
    assert not hasattr(module, 'decode_head')
    with pytest.raises(AttributeError, match='nothing_like_it'):
        getattr(module, 'nothing_like_it')  # noqa: B009
    again = copy.deepcopy(module)
    assert again.backbone is again.task.backbone is not module.backbone


def test_layer_depth(joint):
    task = classifier()
    task['backbone'] = dict(
        type='VisionTransformer', img_size=32, patch_size=8, arch=dict(
            embed_dims=16, num_layers=2, num_heads=2,
            feedforward_channels=32))
    task['neck'] = None
    task['head'] = dict(type='VisionTransformerClsHead', num_classes=10,
                        in_channels=16)
    module = joint(task, connections=[
        dict(student_tap='out.0', teacher_tap=TAP,
             loss=dict(type='repfusion_mm.HintLoss', pool=True))])
    for name in ('backbone.patch_embed.projection.weight',
                 'backbone.layers.1.attn.qkv.weight', 'head.fc.weight'):
        assert module.get_layer_depth(f'task.{name}') == \
            module.task.get_layer_depth(name)
    deepest = module.task.get_layer_depth('head.fc.weight')
    assert module.get_layer_depth('connections.0.projector.weight') == deepest


def test_reinforced(joint, batch):
    module = joint(
        time_sampler=dict(type='repfusion_mm.ReinforcedTime', num_bins=10),
        reward=dict(type='repfusion_mm.ClassificationReward', num_classes=10))
    data = module.data_preprocessor(batch('cls', [1, -1, 3]), True)
    losses = module(**data, mode='loss')
    assert {'loss_task', 'loss_feature', 'loss_reward', 'loss_policy',
            'loss_entropy', 'mean_t', 'mean_reward'} == set(losses)


class Names(torch.nn.Module):
    """A head whose values have our names."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(32, 1)

    def loss(self, feats, data_samples):
        loss = self.fc(feats[-1]).square().mean()
        return dict(loss=loss, loss_feature=2 * loss, mean_t=loss.detach(),
                    loss_list=[loss, loss], score=loss.detach())


def test_names_that_are_taken(joint, batch):
    """`loss` is the sum in the log, and nothing is lost."""
    module = joint()
    module.task.head = Names()
    data = module.data_preprocessor(batch('cls', [1, 2]), True)
    losses = module(**data, mode='loss')
    assert set(losses) == {'loss_feature', 'mean_t', 'loss_task', 'score',
                           'loss_feature_task', 'mean_t_task', 'loss_list'}
    total, log = module.parse_losses(losses)
    assert log['loss'] is total
    torch.testing.assert_close(
        total, losses['loss_feature'] + 5 * losses['loss_task'])
    assert log['mean_t_task'] != log['mean_t']


def test_sum_in_the_log(joint, batch):
    """mmpretrain's head calls its own loss so, too."""
    module = joint()
    log = module.train_step(batch('cls', [1, -1, 3]), OptimWrapper(
        torch.optim.SGD(module.parameters(), 0.1)))
    torch.testing.assert_close(log['loss'],
                               log['loss_feature'] + log['loss_task'])


@pytest.mark.parametrize('task, named', [
    ('cls', 'loss_task'), ('seg', 'decode.loss_ce'), ('pose', 'loss_kpt')])
def test_task_loss_is_not_finite(joint, batch, task, named):
    """While all features still are; the weights stay as they were."""
    module = joint(task)
    losses = [part for part in module.task.modules()
              if hasattr(part, 'loss_weight')]
    assert len(losses) == 1
    losses[0].loss_weight = float('inf')
    before = copy.deepcopy(list(module.parameters()))
    with pytest.raises(FloatingPointError,
                       match=f'infinity in {named}; stopped before'):
        module.train_step(batch(task, [1, -1, 3]), OptimWrapper(
            torch.optim.SGD(module.parameters(), 0.1)))
    for one, other in zip(module.parameters(), before):
        assert torch.equal(one, other)


def test_another_ignored_index(joint, batch):
    """Zero is no class: a mask of nothing but zeros is no label."""
    task = segmentor()
    task['decode_head']['ignore_index'] = 0
    module = joint(task).train()
    fixed_statistics(module)
    data = batch('seg', [0, 1, 2])
    module.check_samples(data['data_samples'])
    assert [sample.labelled for sample in data['data_samples']] == [
        False, True, True]
    data = module.data_preprocessor(data, True)
    stock = module.task.loss(data['inputs'][1:], data['data_samples'][1:])
    torch.testing.assert_close(task_losses(module(**data, mode='loss')),
                               stock)
    with pytest.raises(ValueError, match='255.*`task.decode_head.ignore_index'
                       '`, 0.*FewLabels.*`ignore_index=0`'):
        module.check_samples(batch('seg', [-1])['data_samples'])


def test_reward_ignores_what_the_head_does(joint):
    task = segmentor()
    task['decode_head']['ignore_index'] = 0
    parts = dict(time_sampler=dict(type='repfusion_mm.ReinforcedTime'))
    reward = dict(type='repfusion_mm.SegmentationReward', num_classes=5)
    with pytest.raises(ValueError, match='`reward.ignore_index` is 255, but '
                       '`task.decode_head.ignore_index` is 0'):
        joint(task, reward=reward, **parts)
    joint(task, reward=dict(reward, ignore_index=0), init=False, **parts)


@pytest.mark.parametrize('head', [
    dict(num_classes=1), dict(num_classes=2, out_channels=1)])
def test_one_channel(joint, batch, head):
    task = segmentor()
    task['decode_head'].update(head, loss_decode=dict(
        type='CrossEntropyLoss', use_sigmoid=True))
    module = joint(task)
    for labels in ([0, 1, -1], [-1, -1, 0], [1, 1, 1]):
        data = batch('seg', labels)
        module.check_samples(data['data_samples'])
        losses = module(**module.data_preprocessor(data, True), mode='loss')
        assert losses['decode.loss_ce'] > 0
    with pytest.raises(ValueError, match='class ids 2.*expected 0 to 1'):
        module.check_samples(batch('seg', [0, 2])['data_samples'])


@pytest.mark.parametrize('labels', [[1, -1, -1], [-1, 2, 3]])
def test_pooling_head(joint, batch, labels):
    """One labelled image has nothing to compare its pooled map with."""
    task = segmentor()
    task['decode_head'].update(type='PSPHead')
    task['decode_head'].pop('num_convs')
    module = joint(task).train()
    optim_wrapper = OptimWrapper(torch.optim.SGD(module.parameters(), 0.1))
    log = module.train_step(batch('seg', labels), optim_wrapper)
    assert log['decode.loss_ce'] > 0


def test_pictures_are_no_masks(joint, batch):
    from mmengine.structures import PixelData
    module = joint('seg')
    data = batch('seg', [1, 2])
    data['data_samples'][1].set_metainfo(dict(seg_map_path='b.png'))
    data['data_samples'][1].gt_sem_seg = PixelData(
        data=torch.zeros(32, 32, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="'b.png' is a picture of 3 chan.*"
                       'data_prefix.seg_map_path.*Convert the colours'):
        module.check_samples(data['data_samples'])


@pytest.mark.parametrize('task', list(TASKS))
def test_balanced(joint, batch, task):
    """The backbone's gradient is that of the task, and of the distillation
    by as much; the scale of its loss does not matter."""

    def gradients(choose=None, **parts):
        torch.manual_seed(0)
        module = joint(task, time_sampler=dict(
            type='repfusion_mm.FixedTime', t=50), **parts)
        module.train()
        fixed_statistics(module)
        torch.manual_seed(1)
        data = module.data_preprocessor(batch(task, [1, -1, 2]), True)
        losses = module(**data, mode='loss')
        kept = {name: loss for name, loss in losses.items()
                if choose is None or
                name.startswith('loss_feature') == choose}
        module.parse_losses(kept)[0].backward()
        return torch.cat([
            parameter.grad.flatten()
            for parameter in module.task.backbone.layer4.parameters()])

    def connected(weight):
        return [dict(student_tap='backbone.layer4', teacher_tap=TAP, loss=dict(
            type='repfusion_mm.HintLoss', loss_weight=weight))]

    parts = [gradients(choose) for choose in (False, True)]
    one, other = (gradients(balance=True, distill_weight=0.5,
                            connections=connected(weight))
                  for weight in (1., 300.))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-7)
    pulled = one - parts[0]
    # in the direction of the distillation alone
    cosine = F.cosine_similarity(pulled, parts[1], dim=0)
    assert cosine > 0.999 and not torch.allclose(one, parts[0])
    torch.testing.assert_close(
        gradients(balance=True, distill_weight=0.), parts[0])


def test_balanced_output(joint):
    with pytest.raises(ValueError, match="names 'out.0'"):
        joint(balance=True, connections=[dict(
            student_tap='out.0', teacher_tap=TAP,
            loss=dict(type='repfusion_mm.HintLoss', pool=True))])


def test_unknown_tap(joint):
    with pytest.raises(ValueError, match='layer5.*nearest.*backbone.layer4'):
        joint(connections=[dict(student_tap='backbone.layer5',
                                teacher_tap=TAP)])


def test_wrong_task(joint):
    with pytest.raises(ValueError, match='`task`.*Linear.*extract_feat'):
        joint(torch.nn.Linear(1, 1))


def test_label_of_no_class(joint, batch):
    """On a GPU its loss would end the process."""
    module = joint('cls')
    module.check_samples(batch('cls', [0, 9, -1])['data_samples'])
    with pytest.raises(ValueError, match='`gt_label` of a DataSample is 10, '
                       'but `task.head.num_classes` is 10: expected 0 to 9'):
        module.check_samples(batch('cls', [0, 10])['data_samples'])
