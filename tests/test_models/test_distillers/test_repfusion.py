import copy
import os.path as osp

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.runner import Runner
from torch import nn

DEMO = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
DOWN = 'down_blocks.0.resnets.0'


class TinyBackbone(nn.Module):
    """Two layers, and a vector at the end."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()

    def forward(self, x):
        x = self.norm(self.conv(x))
        return x, self.flat(self.pool(x))


@pytest.fixture(autouse=True)
def tiny_backbone():
    MMENGINE_MODELS.register_module('TinyBackbone', True, TinyBackbone)
    yield
    del MMENGINE_MODELS.module_dict['TinyBackbone']


@pytest.fixture
def model(build, repfusion):

    def make(**parts):
        module = build(repfusion(**parts))
        module.init_weights()
        return module

    return make


@pytest.fixture
def batch(samples):
    return dict(inputs=torch.rand(4, 3, 16, 16) * 2 - 1,
                data_samples=samples([3, -1, 7, 7]))


def connection(student='layer4', teacher='mid_block.resnets.1', pool=True):
    return dict(student_tap=student, teacher_tap=teacher,
                loss=dict(type='repfusion_mm.HintLoss', pool=pool))


def test_losses(model, batch, complete):
    """Every loss against the equations, from the drawn time steps on."""
    module = model(connections=[connection(),
                                connection('layer1', DOWN, False)])
    module.eval()
    losses = module(**batch, mode='loss')
    t = module.timesteps
    assert t.shape == (4, )

    inputs = batch['inputs'].clamp(-1, 1)
    z = complete(inputs, t, ['mid_block.resnets.1'])['mid_block.resnets.1']
    student = module.backbone(batch['inputs'])[0]
    project = module.connections[0].projector
    wanted = F.mse_loss(project(student).mean((2, 3)), z.mean((2, 3)))
    torch.testing.assert_close(losses['loss_feature'], wanted)
    assert losses['loss_feature1'].item() > 0

    entropy = F.cross_entropy(
        module.reward.classifier(z.mean((2, 3))),
        torch.tensor([3, 0, 7, 7]), reduction='none')
    mask = torch.tensor([True, False, True, True])
    torch.testing.assert_close(losses['loss_reward'], entropy[mask].mean())
    torch.testing.assert_close(losses['mean_reward'],
                               -entropy[mask].mean())
    assert losses['mean_t'].item() == t.float().mean().item()

    reward = -entropy.detach()
    raw = (inputs + 1) * 127.5
    log_probs = torch.log_softmax(module.time_sampler.policy(raw), 1)
    log_prob = log_probs[torch.arange(4), t // 100]
    others = torch.stack([
        (reward[mask].sum() - reward[i]) / 2 for i in range(4)])
    wanted = -((reward - others) * log_prob)[mask].mean()
    torch.testing.assert_close(losses['loss_policy'], wanted,
                               rtol=1e-3, atol=1e-5)
    spread = -(log_probs.exp() * log_probs).sum(1).mean()
    torch.testing.assert_close(losses['loss_entropy'], -0.1 * spread)


def test_teacher_before_student(model, batch):
    """The student's activations are not held while the teacher computes."""
    module = model()
    order = []
    module.backbone.register_forward_pre_hook(
        lambda *_: order.append('student'))
    module.teacher.register_forward_pre_hook(
        lambda *_: order.append('teacher'))
    module(**batch, mode='loss')
    assert order == ['teacher', 'student']


@pytest.mark.parametrize('tap', ['layer4', 'layer4.1'])
def test_checkpointed_student(model, batch, tap):
    """Activations that are computed twice give the same gradients."""
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        module = model(
            backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18,
                          stem_channels=4, base_channels=4, with_cp=with_cp),
            time_sampler=dict(type='repfusion_mm.FixedTime', t=3),
            reward=None, connections=[connection(tap)]).train()
        module(**batch, mode='loss')['loss_feature'].backward()
        gradients.append([p.grad for p in module.backbone.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize('tap', ['layer4.1.conv2', 'layer4.1.drop_path'])
def test_tap_inside_a_checkpointed_block(model, batch, tap):
    module = model(
        backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18,
                      stem_channels=4, base_channels=4, with_cp=True),
        connections=[connection(tap)]).train()
    with pytest.raises(ValueError, match=f"'{tap}'.*with_cp=True"):
        module(**batch, mode='loss')
    with torch.no_grad():  # to look at the losses only
        assert module(**batch, mode='loss')['loss_feature'] > 0
    module.backbone.requires_grad_(False)  # frozen on purpose
    assert module(**batch, mode='loss')['loss_feature'] > 0


def test_summed_loss(model, batch):
    # what is only logged is not trained on
    module = model()
    losses = module(**batch, mode='loss')
    total, _ = module.parse_losses(losses)
    wanted = sum(losses[key] for key in (
        'loss_feature', 'loss_reward', 'loss_policy', 'loss_entropy'))
    torch.testing.assert_close(total, wanted)


def test_gradients(model, batch):
    module = model()
    sum(loss for name, loss in module(**batch, mode='loss').items()
        if 'loss' in name).backward()
    for name, p in module.named_parameters():
        if not name.startswith('backbone.fc'):
            assert p.grad is not None and p.grad.isfinite().all(), name
    assert module.backbone.conv1.weight.grad.abs().sum() > 0
    assert module.time_sampler.policy.scores.weight.grad.abs().sum() > 0
    assert module.reward.classifier[0].weight.grad.abs().sum() > 0


def test_policy_does_not_move_the_student(model, batch):
    module = model()
    losses = module(**batch, mode='loss')
    (losses['loss_policy'] + losses['loss_reward']).backward()
    assert all(p.grad is None for p in module.backbone.parameters())
    assert all(p.grad is None for p in module.connections.parameters())


def test_nothing_labelled(model, batch, samples):
    module = model()
    losses = module(batch['inputs'], samples([-1] * 4), mode='loss')
    assert losses['loss_reward'] == losses['loss_policy'] == 0
    assert losses['mean_reward'] == 0
    sum(loss for name, loss in losses.items() if 'loss' in name).backward()
    for name, p in module.named_parameters():
        assert p.grad is not None, name  # or DDP would hang


def test_without_reward(model, batch):
    module = model(reward=None, time_sampler=dict(
        type='repfusion_mm.FixedTime', t=7))
    losses = module(batch['inputs'], mode='loss')
    assert set(losses) == {'loss_feature', 'mean_t'}
    assert losses['mean_t'] == 7


def test_channel_order(model, batch):
    # the same pixels, told to be in another order
    parts = dict(reward=None,
                 time_sampler=dict(type='repfusion_mm.FixedTime'))
    rgb, bgr = (model(channel_order=order, **parts).eval()
                for order in ('rgb', 'bgr'))
    bgr.load_state_dict(rgb.state_dict())
    seen = []
    for module in (rgb, bgr):
        module.teacher.register_forward_hook(
            lambda m, args, output: seen.append(args[0]))
        module(batch['inputs'], mode='loss')
    assert torch.equal(seen[0], seen[1].flip(1))
    wanted = (batch['inputs'] + 1) * 127.5
    torch.testing.assert_close(seen[0], wanted, rtol=0, atol=1e-3)


def test_modes(model, batch):
    module = model().eval()
    wanted = module.backbone(batch['inputs'])
    got = module(batch['inputs'], mode='tensor')
    assert torch.equal(got[0], wanted[0])
    with pytest.raises(ValueError, match="'predict'"):
        module(**batch, mode='predict')


def test_checkpoint(model, build):
    state = model().state_dict()
    assert {key.split('.')[0] for key in state} == {
        'backbone', 'connections', 'time_sampler', 'reward'}
    backbone = {key[len('backbone.'):]: value for key, value in state.items()
                if key.startswith('backbone.')}
    stock = build(dict(type='mmpretrain.ResNet_CIFAR', depth=18,
                       stem_channels=4, base_channels=4))
    stock.load_state_dict(backbone, strict=True)
    assert torch.equal(stock.conv1.weight, backbone['conv1.weight'])


def test_checkpoint_without_the_teacher(model, build, repfusion):
    # a student is loaded and used where the weights were never read
    module = build(repfusion())
    state = model().state_dict()
    module.load_state_dict(state, strict=True)
    module.eval()(torch.zeros(1, 3, 16, 16))
    assert module.teacher.denoiser is None


def test_teacher_is_nowhere(model):
    module = model()
    teacher = {p.data_ptr() for p in module.teacher.denoiser.parameters()}
    assert teacher
    averaged = ExponentialMovingAverage(module)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for tensors in (averaged.state_dict().values(), averaged.parameters(),
                    averaged.buffers(), module.buffers(),
                    optimizer.param_groups[0]['params']):
        assert not teacher & {t.data_ptr() for t in tensors}
    assert averaged.module.teacher.denoiser is module.teacher.denoiser
    assert sum(p.numel() for p in averaged.parameters()) == \
        sum(p.numel() for p in module.parameters())


def test_deepcopy(model, batch):
    module = model()
    other = copy.deepcopy(module)
    assert other.teacher.denoiser is module.teacher.denoiser
    assert other.backbone.conv1.weight is not module.backbone.conv1.weight
    torch.manual_seed(5)
    one = module(**batch, mode='loss')
    torch.manual_seed(5)
    two = other(**batch, mode='loss')
    assert torch.equal(one['loss_feature'], two['loss_feature'])


def test_train_leaves_the_teacher(model):
    module = model().train()
    assert module.backbone.training
    assert not any(m.training for m in module.teacher.denoiser.modules())


def test_one_seed_starts_one_student(build, repfusion):
    models = []
    for parts in ({}, dict(reward=None, time_sampler=dict(
            type='repfusion_mm.FixedTime'))):
        torch.manual_seed(3)
        module = build(repfusion(**parts))
        module.init_weights()
        models.append(module.backbone.state_dict())
    for key, value in models[0].items():
        assert torch.equal(value, models[1][key]), key


def test_trial_leaves_the_student(build, repfusion):
    module = build(repfusion(backbone=dict(type='mmengine.TinyBackbone'),
                             connections=[connection('norm')]))
    assert module.backbone.training
    assert module.backbone.norm.num_batches_tracked == 0
    assert module.backbone.norm.running_mean.abs().sum() == 0


def test_init_cfg_of_the_model(model, build, repfusion, tmp_path):
    # MMEngine then skips the children, but the teacher must be there
    path = str(tmp_path / 'model.pth')
    torch.save(dict(state_dict=model().state_dict()), path)
    module = build(repfusion(
        init_cfg=dict(type='Pretrained', checkpoint=path)))
    module.init_weights()
    assert module.teacher.denoiser is not None
    wanted = torch.load(path)['state_dict']['backbone.conv1.weight']
    assert torch.equal(module.backbone.conv1.weight, wanted)


def test_default_taps(build, repfusion):
    module = build(repfusion(
        connections=[connection(), connection('layer1', DOWN)],
        reward=dict(type='repfusion_mm.ClassificationReward', num_classes=10,
                    tap='mid_block')))
    assert module.teacher.feature_shapes == {
        'mid_block.resnets.1': (32, 8, 8), DOWN: (16, 16, 16),
        'mid_block': (32, 8, 8)}
    assert module.reward.tap == 'mid_block'


def test_two_connections_from_one_tap(model, batch):
    module = model(connections=[
        connection(), connection(teacher='mid_block')])
    losses = module(**batch, mode='loss')
    assert losses['loss_feature'] != losses['loss_feature1']


RANGES = dict(type='repfusion_mm.UniformTime', min_t=[0, 900],
              max_t=[50, 1000])


def test_a_time_step_for_each_connection(model, batch, complete):
    module = model(
        reward=None, time_sampler=RANGES,
        connections=[connection(), connection('layer1', DOWN, False)]).eval()
    losses = module(**batch, mode='loss')
    t = module.timesteps
    assert t.shape == (2, 4)
    assert (t[0] < 50).all() and (t[1] >= 900).all()
    assert losses['mean_t'].item() == pytest.approx(t.double().mean().item())

    inputs = batch['inputs'].clamp(-1, 1)
    z = complete(inputs, t[0], ['mid_block.resnets.1'])['mid_block.resnets.1']
    features = {}
    for name in ('layer1', 'layer4'):
        module.backbone.get_submodule(name).register_forward_hook(
            lambda m, args, output, name=name: features.update(
                {name: output}))
    module.backbone(batch['inputs'])
    first, second = (part.projector for part in module.connections)
    torch.testing.assert_close(losses['loss_feature'], F.mse_loss(
        first(features['layer4']).mean((2, 3)), z.mean((2, 3))))
    z = complete(inputs, t[1], [DOWN])[DOWN]
    torch.testing.assert_close(losses['loss_feature1'], F.mse_loss(
        second(features['layer1']), z))


def test_one_tap_at_two_time_steps(model, batch, complete):
    module = model(reward=None, time_sampler=RANGES, connections=[
        connection(), connection('layer3')]).eval()
    losses = module(**batch, mode='loss')
    z = complete(batch['inputs'].clamp(-1, 1), module.timesteps[1],
                 ['mid_block.resnets.1'])['mid_block.resnets.1']
    student = {}
    module.backbone.layer3.register_forward_hook(
        lambda m, args, output: student.update(layer3=output))
    module.backbone(batch['inputs'])
    projected = module.connections[1].projector(student['layer3'])
    torch.testing.assert_close(losses['loss_feature1'], F.mse_loss(
        projected.mean((2, 3)), z.mean((2, 3))))


class Recording:
    """What a reward was called with."""

    def __init__(self, model):
        self.reward, self.calls = model.reward.forward, []
        model.reward.forward = self

    def __call__(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        return self.reward(*args, **kwargs)


def test_what_a_reward_is_told(model, batch, complete):
    module = model(connections=[connection(),
                                connection('layer1', DOWN, False)]).eval()
    record = Recording(module)
    losses = module(**batch, mode='loss')
    (told, ), _ = record.calls[0]
    taps = ['mid_block.resnets.1', DOWN]
    assert set(told.teacher) == set(taps)
    assert set(told.student) == {'layer4', 'layer1'}
    assert told.data_samples is batch['data_samples']
    torch.testing.assert_close(
        told.images, (batch['inputs'] + 1) * 127.5, rtol=0, atol=1e-3)
    assert torch.equal(told.timesteps, module.timesteps)
    torch.testing.assert_close(
        told.loss_feature,
        losses['loss_feature'] + losses['loss_feature1'])
    # other images at the same time steps
    others = torch.rand(4, 3, 16, 16) * 255
    wanted = complete(others / 127.5 - 1, module.timesteps, taps)
    for tap, feature in told.look(others).items():
        torch.testing.assert_close(feature, wanted[tap])


def test_shapes_for_a_reward(build, repfusion):
    module = build(repfusion(reward=dict(
        type='repfusion_mm.StudentProgressReward', num_classes=10,
        student_tap='layer4')))
    assert module.reward is not None
    module = build(repfusion(
        time_sampler=dict(type='repfusion_mm.FixedTime'),
        teacher=dict(type='repfusion_mm.ClassifierTeacher', image_size=16,
                     model=dict(type='mmpretrain.ImageClassifier',
                                backbone=dict(
                                    type='ResNet_CIFAR', depth=18,
                                    stem_channels=4, base_channels=4))),
        connections=[connection(teacher='backbone.layer2')],
        reward=dict(type='repfusion_mm.ContrastiveReward')))
    assert module.reward.num_timesteps == 1
    assert module.reward.mean.shape[1] == 8


@pytest.fixture
def told(tiny):
    """Parts of a stage 1 whose teacher is told each image's label."""

    def parts(**condition):
        condition = condition or dict(class_map=list(range(9, -1, -1)))
        return dict(teacher=dict(
            type='repfusion_mm.UNetTeacher', class_condition=condition,
            config=dict(tiny, num_class_embeds=10)))

    return parts


CONTRASTIVE = dict(type='repfusion_mm.ContrastiveReward')


def test_label_leak(build, repfusion, told):
    # the reward would find in z(t) what the teacher was told
    raises(ValueError, '`teacher.class_condition`.*`reward` reads it.*'
           'leak_labels=True', build, repfusion(**told()))


@pytest.mark.parametrize('condition, reward', [
    (dict(class_map=[0] * 10, leak_labels=True), True),
    (dict(fixed=3), True), (dict(average='all'), True),
    (dict(class_map=[0] * 10), CONTRASTIVE)])
def test_no_label_leak(build, repfusion, told, condition, reward):
    parts = told(**condition)
    if reward is not True:
        parts['reward'] = reward
    assert build(repfusion(**parts)).reward is not None


def test_labels_for_the_teacher(model, batch, told, monkeypatch):
    module = model(reward=CONTRASTIVE, **told())
    calls, forward = [], module.teacher.forward

    def spy(images, timesteps, labels=None):
        calls.append((timesteps, labels))
        return forward(images, timesteps, labels)

    monkeypatch.setattr(module.teacher, 'forward', spy)
    module(**batch, mode='loss')
    assert len(calls) == 2  # the reward looks once more
    for timesteps, labels in calls:
        assert labels.tolist() == [3, -1, 7, 7]
        assert torch.equal(timesteps, module.timesteps)


def test_label_changes_the_feature(model, batch, told, samples):
    module = model(reward=None, **told(),
                   time_sampler=dict(type='repfusion_mm.FixedTime')).eval()
    one, two = (module(batch['inputs'], samples(labels), mode='loss')
                for labels in ([3, -1, 7, 7], [3, -1, 7, 0]))
    assert one['loss_feature'] != two['loss_feature']


def test_no_labels_for_others(model, batch, monkeypatch):
    module = model(reward=None,
                   time_sampler=dict(type='repfusion_mm.UniformTime'))
    calls, forward = [], module.teacher.forward
    monkeypatch.setattr(
        module.teacher, 'forward',
        lambda *args: calls.append(args) or forward(*args))
    module(batch['inputs'], None, mode='loss')  # nor are there any to read
    assert calls[0][2] is None


def poison_student(module):
    with torch.no_grad():
        module.backbone.layer4[1].conv2.weight[0, 0] = float('nan')


def poison_teacher(module, tap=DOWN, value=float('inf')):

    def poison(teacher, args, features):
        features[tap][2, 0, 1, 1] = value

    module.teacher.register_forward_hook(poison)


def poison_reward(module):
    poison_teacher(module, 'up_blocks.0', float('nan'))


def poison_loss(module):
    module.connections[0].loss.loss_weight = float('inf')


@pytest.mark.parametrize('poison, named', [
    (None, None),
    (poison_student, "in the student's 'layer4';"),
    (poison_teacher, f"in the teacher's '{DOWN}';"),
    (poison_reward, "in the teacher's 'up_blocks.0', the reward;"),
    (poison_loss, 'in loss_feature;')])
def test_not_finite(model, batch, poison, named):
    """Named, and the weights stay as they were."""
    module = model(
        connections=[connection('layer1', DOWN), connection()],
        reward=dict(type='repfusion_mm.ClassificationReward', num_classes=10,
                    tap='up_blocks.0'))
    if poison:
        poison(module)
    before = {name: p.detach().clone()
              for name, p in module.named_parameters()}
    optim_wrapper = OptimWrapper(
        torch.optim.SGD(module.parameters(), 0.1, momentum=0.9))
    data = dict(inputs=[image * 100 + 128 for image in batch['inputs']],
                data_samples=batch['data_samples'])
    if poison is None:  # the same step, in good health
        module.train_step(data, optim_wrapper)
        assert not torch.equal(module.backbone.conv1.weight,
                               before['backbone.conv1.weight'])
        return
    with pytest.raises(FloatingPointError, match='NaN or infinity ' + named):
        module.train_step(data, optim_wrapper)
    for name, p in module.named_parameters():
        torch.testing.assert_close(p, before[name], rtol=0, atol=0,
                                   equal_nan=True, msg=name)
        assert p.grad is None, name


@pytest.mark.parametrize('tap, shape', [
    ('layer3', (16, 4, 4)), ('out.-1', (32, 2, 2)),
    ('layer2.0.bn2', (8, 8, 8)), ('layer4.1.relu', (32, 2, 2))])
def test_student_taps(model, batch, tap, shape):
    module = model(connections=[connection(tap)])
    assert module.connections[0].projector.in_channels == shape[0]
    assert module(**batch, mode='loss')['loss_feature'].isfinite()


def test_vector_with_pooled_loss(model, batch):
    module = model(backbone=dict(type='mmengine.TinyBackbone'),
                   connections=[connection('out.1')])
    assert isinstance(module.connections[0].projector, nn.Linear)
    assert module(**batch, mode='loss')['loss_feature'].isfinite()


def raises(error, match, build, *args, **kwargs):
    with pytest.raises(error, match=match):
        build(*args, **kwargs)


def test_vector_with_map_loss(build, repfusion):
    raises(ValueError, r"'out.1'.*\(4,\).*needs a map \(C, H, W\)", build,
           repfusion(backbone=dict(type='mmengine.TinyBackbone'),
                     connections=[connection('out.1', pool=False)]))


def test_no_such_student_tap(build, repfusion):
    raises(ValueError, "`connections.student_tap` names 'layr4'.*'layer4'",
           build, repfusion(connections=[connection('layr4')]))


def test_no_such_teacher_tap(build, repfusion):
    raises(ValueError, "names 'mid_blok'.*'mid_block'", build,
           repfusion(connections=[connection(teacher='mid_blok')]))


def test_tap_left_out_of_the_teacher(build, repfusion, tiny):
    raises(ValueError, "`teacher.taps`.*'mid_block.resnets.1'", build,
           repfusion(teacher=dict(type='repfusion_mm.UNetTeacher',
                                  config=tiny, taps=['mid_block'])))


@pytest.mark.parametrize('time_sampler', [
    dict(type='FixedTime', t=1000), dict(type='UniformTime', max_t=1001),
    dict(type='ReinforcedTime', num_timesteps=2000)])
def test_sampler_beyond_the_teacher(build, repfusion, time_sampler):
    time_sampler = dict(time_sampler,
                        type='repfusion_mm.' + time_sampler['type'])
    raises(ValueError, r'`time_sampler` may draw t = \d+.*0 to 999', build,
           repfusion(time_sampler=time_sampler))


def test_policy_without_reward(build, repfusion):
    raises(ValueError, 'ReinforcedTime learns from a reward', build,
           repfusion(reward=None))


def test_no_connections(build, repfusion):
    raises(ValueError, '`connections` is empty', build,
           repfusion(connections=[]))


def test_same_pair_twice(build, repfusion):
    raises(ValueError, "`connections` names the same pair.*'layer4'.*"
           "'mid_block.resnets.1'.*another module", build,
           repfusion(connections=[
               connection(), connection('layer3'), connection(pool=False)]))


@pytest.mark.parametrize('number', [1, 3])
def test_other_number_of_ranges(build, repfusion, number):
    pairs = [connection(), connection('layer1'), connection('layer2')]
    raises(ValueError, f'`time_sampler` has 2 ranges, but there are {number} '
           '`connections`', build,
           repfusion(reward=None, time_sampler=RANGES,
                     connections=pairs[:number]))


def test_ranges_and_a_reward(build, repfusion):
    raises(ValueError, '`reward`.*`time_sampler` has a range for each', build,
           repfusion(time_sampler=RANGES,
                     connections=[connection(), connection('layer1')]))


def test_wrong_channel_order(build, repfusion):
    raises(ValueError, "`channel_order` is 'grb'", build,
           repfusion(channel_order='grb'))


@pytest.mark.parametrize('part, typo, wanted', [
    ('backbone', 'mmpretrain.ResNet_CIFR', 'mmpretrain.ResNet_CIFAR'),
    ('teacher', 'repfusion_mm.UNetTeachr', 'repfusion_mm.UNetTeacher'),
    ('time_sampler', 'repfusion_mm.FixdTime', 'repfusion_mm.FixedTime'),
    ('reward', 'repfusion_mm.ClassReward', 'ClassificationReward')])
def test_typo(build, repfusion, part, typo, wanted):
    raises(KeyError, f'`{part}.type` is .*{typo}.*{wanted}', build,
           repfusion(**{part: dict(type=typo)}))


def test_typo_in_a_loss(build, repfusion):
    cfg = connection()
    cfg['loss']['type'] = 'repfusion_mm.HintLos'
    raises(KeyError, '`connections.*loss.type`.*HintLoss', build,
           repfusion(connections=[cfg]))


@pytest.mark.gpu
def test_gpu(model, batch):
    module = model().cuda()
    data = dict(inputs=batch['inputs'].cuda(),
                data_samples=[s.cuda() for s in batch['data_samples']])
    with torch.autocast('cuda', dtype=torch.float16):
        losses = module(**data, mode='loss')
    for name, loss in losses.items():
        assert loss.dtype == torch.float32 and loss.isfinite(), name
        assert loss.is_cuda, name


def test_runner(load_config, tmp_path):
    cfg = load_config(DEMO)
    runner = Runner.from_cfg(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    for name in ('loss', 'loss_feature', 'loss_reward', 'loss_policy'):
        values, _ = scalars[f'train/{name}'].data
        assert len(values) == 2
        assert all(torch.tensor(v).isfinite() for v in values)
    path = osp.join(tmp_path, 'iter_2.pth')
    state = torch.load(path, weights_only=False)['state_dict']
    assert {key.split('.')[0] for key in state} == {
        'backbone', 'connections', 'time_sampler', 'reward'}

    cfg = load_config(DEMO, iters=4, resume=True)
    runner = Runner.from_cfg(cfg)
    started = []

    class Start:
        priority = 0

        def __getattr__(self, name):
            return lambda *args, **kwargs: None

        def before_train(self, runner):
            started.append((runner.iter, runner.model.state_dict()))

    runner._hooks.append(Start())
    before = {key: value.clone() for key, value in state.items()}
    runner.train()
    assert started[0][0] == 2
    assert runner.iter == 4
    after = runner.model.state_dict()
    changed = {key.split('.')[0] for key in before
               if not torch.equal(before[key], after[key])}
    assert changed == {'backbone', 'connections', 'time_sampler', 'reward'}


def test_runner_changes_the_student(load_config):
    runner = Runner.from_cfg(load_config(DEMO))
    runner._init_model_weights()
    model = runner.model
    model.init_weights = model.teacher.init_weights  # only once
    before = copy.deepcopy(model.backbone.state_dict())
    teacher = copy.deepcopy(model.teacher.denoiser.state_dict())
    runner.train()
    after = model.backbone.state_dict()
    assert all(not torch.equal(after[key], before[key])
               for key in before if 'conv' in key)
    for key, value in model.teacher.denoiser.state_dict().items():
        assert torch.equal(value, teacher[key]), key


def test_mixed_labels(build, repfusion):
    with pytest.raises(ValueError, match='batch_augments.*reward'):
        build(repfusion(data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor', num_classes=10,
            batch_augments=dict(augments=dict(
                type='mmpretrain.Mixup', alpha=0.2)))))


@pytest.mark.parametrize('connections, match', [
    ('out.-1', 'expects a list of dicts'),
    (dict(student_tap='layer4', teacher_tap='mid_block'), 'list of dicts'),
    ([dict(student_tap='layer4')], r'\[0\]` has no `teacher_tap`'),
    ([dict(student_tap=3, teacher_tap='mid_block')], 'has no `student_tap`'),
    (['layer4'], r"\[0\]` is 'layer4', but RepFusion expects a dict")])
def test_no_connections_at_all(build, repfusion, connections, match):
    raises(ValueError, f'`connections.*{match}', build,
           repfusion(connections=connections))


def test_regressor_of_other_students(build, repfusion):
    raises(ValueError, r'`regressor` HRFuseScales does not take.*\(2, 32, 8,',
           build, repfusion(regressor=dict(type='mmpretrain.HRFuseScales')))


def test_images_of_other_channels(model, batch):
    module = model(data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor', mean=[127.5], std=[127.5]))
    assert module.in_channels == 3
    raises(ValueError, 'images have 1 channels and the student takes 3',
           module, batch['inputs'][:, :1], batch['data_samples'],
           mode='loss')


def test_four_channels(model, build, repfusion, batch):
    parts = dict(
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor',
                               mean=[127.5] * 4, std=[127.5] * 4),
        backbone=dict(type='mmpretrain.ResNet_CIFAR', depth=18, in_channels=4,
                      stem_channels=4, base_channels=4))
    raises(ValueError, r'4 channels.*`raw_image=dict\(channels=', build,
           repfusion(**parts))
    raises(ValueError, r'channels` is \(0, 1, 4\)', build,
           repfusion(**parts, raw_image=dict(channels=(0, 1, 4))))
    module = model(**parts, raw_image=dict(channels=(2, 1, 0)))
    seen = []
    module.teacher.register_forward_hook(
        lambda m, args, output: seen.append(args[0]))
    inputs = torch.rand(4, 4, 16, 16) * 2 - 1
    module(inputs, batch['data_samples'], mode='loss')
    torch.testing.assert_close(seen[0], (inputs[:, [2, 1, 0]] + 1) * 127.5,
                               rtol=0, atol=1e-3)


def test_pipeline_that_normalises(model, batch):
    # the teacher sees the same, the student what it is given
    plain = model(reward=None,
                  time_sampler=dict(type='repfusion_mm.FixedTime'))
    told = model(reward=None, data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor'), time_sampler=dict(
            type='repfusion_mm.FixedTime'),
        raw_image=dict(range=(0, 1), mean=[0.5], std=[0.5]))
    told.load_state_dict(plain.state_dict())
    torch.testing.assert_close(
        plain(batch['inputs'], mode='loss'),
        told(batch['inputs'], mode='loss'))
    untold = model(data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor'))
    raises(ValueError, 'lie between -0.9.* and 0.9.*little but black', untold,
           **batch, mode='loss')
