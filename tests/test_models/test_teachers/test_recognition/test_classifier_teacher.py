import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

RESNET = 'configs/mmpretrain/resnet18_1xb128-200e_cifar10.py'
MEAN, STD = [120.5, 110., 100.], [50., 60.5, 70.]
LAYER4 = 'backbone.layer4'
SMALL = dict(
    type='mmpretrain.ImageClassifier',
    data_preprocessor=dict(mean=MEAN, std=STD, num_classes=10),
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                  base_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=32))


@pytest.fixture(scope='module')
def classifier():
    """mmpretrain's own model, preprocessor included; not to be changed."""
    from mmengine.config import Config
    from mmpretrain import get_model
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = get_model(Config(dict(model=copy.deepcopy(SMALL)))).eval()
        # running statistics that a wrong input would show in
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(scope='module')
def checkpoint(classifier, tmp_path_factory):
    """Its weights as MMEngine writes them."""
    path = str(tmp_path_factory.mktemp('classifier') / 'epoch_1.pth')
    torch.save(dict(state_dict=classifier.state_dict(),
                    meta=dict(epoch=1), message_hub=dict()), path)
    return path


@pytest.fixture
def teacher(build, checkpoint):
    """Builds a teacher, with its weights."""

    def make(load=True, **cfg):
        cfg = {**dict(model=SMALL, checkpoint=checkpoint, image_size=16,
                      taps=[LAYER4]), **cfg}
        module = build(dict(type='repfusion_mm.ClassifierTeacher', **cfg))
        if load:
            module.init_weights()
        return module

    return make


def by_itself(classifier, inputs, taps=(LAYER4, )):
    """What the classifier's layers say after its own preprocessor."""
    features, handles = {}, []
    for tap in taps:
        if tap != 'out.0':
            handles.append(
                classifier.get_submodule(tap).register_forward_hook(
                    lambda m, args, output, tap=tap: features.update(
                        {tap: output[0] if isinstance(output, tuple)
                         else output.clone()})))
    with torch.no_grad():
        data = classifier.data_preprocessor(dict(inputs=inputs))
        output = classifier(data['inputs'], mode='tensor')
    for handle in handles:
        handle.remove()
    if 'out.0' in taps:
        features['out.0'] = output
    return features


@pytest.mark.parametrize('taps', [
    [LAYER4], ['backbone'], ['backbone.layer2.0.bn1', LAYER4], ['neck'],
    ['out.0'], ['out.0', 'backbone.conv1']])
def test_features(teacher, classifier, images, taps):
    module = teacher(taps=taps)
    features = module(images)
    wanted = by_itself(classifier, images, taps)
    assert set(features) == set(taps)
    for tap in taps:
        torch.testing.assert_close(features[tap], wanted[tap])
        assert module.feature_shapes[tap] == wanted[tap].shape[1:]
        assert features[tap].dtype == torch.float32
        assert not features[tap].requires_grad


def test_time_and_label_do_not_matter(teacher, images):
    module = teacher()
    wanted = module(images)[LAYER4]
    got = module(images, torch.zeros(4, dtype=torch.long),
                 torch.tensor([1, 2, -1, 0]))[LAYER4]
    assert torch.equal(got, wanted)
    assert module.num_timesteps == 1 and not module.reads_labels


def test_bgr(teacher, classifier, images):
    # one that was trained on files as OpenCV reads them
    wanted = by_itself(classifier, images.flip(1))[LAYER4]
    got = teacher(channel_order='bgr')(images)[LAYER4]
    torch.testing.assert_close(got, wanted)
    assert not torch.allclose(got, teacher()(images)[LAYER4])


def test_range_is_its_own(teacher, classifier):
    # not the student's: black and white come out as its mean and std say
    images = torch.zeros(2, 3, 16, 16)
    images[1] = 255
    got = teacher(taps=['backbone.conv1'])(images)['backbone.conv1']
    for i, value in enumerate((0., 255.)):
        normed = (value - torch.tensor(MEAN)) / torch.tensor(STD)
        kernel = classifier.backbone.conv1.weight.detach()
        wanted = torch.einsum('oihw,i->o', kernel, normed)
        torch.testing.assert_close(got[i, :, 8, 8], wanted)


def test_no_preprocessor(teacher, images):
    cfg = {key: part for key, part in SMALL.items()
           if key != 'data_preprocessor'}
    module = teacher(model=cfg, taps=['backbone.conv1'])
    with torch.no_grad():
        wanted = module.network.backbone.conv1(images)
    torch.testing.assert_close(module(images)['backbone.conv1'], wanted)


@pytest.mark.parametrize('size', [8, [8, 12]])
def test_resizes(teacher, classifier, size):
    height, width = (size, size) if isinstance(size, int) else size
    module = teacher(image_size=size)
    assert module.image_size == (height, width)
    images = torch.rand(4, 3, height, width) * 255
    wanted = by_itself(classifier, images)[LAYER4]
    torch.testing.assert_close(module(images)[LAYER4], wanted)
    assert module.feature_shapes[LAYER4] == wanted.shape[1:]
    flat = torch.full((4, 3, 16, 16), 100.)
    wanted = by_itself(classifier, flat[..., :height, :width])[LAYER4]
    torch.testing.assert_close(module(flat)[LAYER4], wanted)


def test_shrinks(teacher, classifier):
    ramp = torch.arange(32.).view(1, 1, 32, 1).expand(4, 3, 32, 32) * 4
    module = teacher(taps=['backbone.conv1'])
    small = (torch.arange(16.) * 2 + 0.5).view(1, 1, 16, 1) * 4
    wanted = by_itself(classifier, small.expand(4, 3, 16, 16),
                       ['backbone.conv1'])['backbone.conv1']
    got = module(ramp)['backbone.conv1']
    # a ramp stays a ramp, away from the borders
    torch.testing.assert_close(got[..., 4:-4, :], wanted[..., 4:-4, :],
                               rtol=1e-4, atol=1e-4)


def test_shrinks_without_aliasing(teacher, classifier):
    fine = torch.zeros(2, 3, 64, 64)
    fine[..., 1::4] = fine[..., 2::4] = 255.
    wanted = by_itself(classifier, torch.full((2, 3, 16, 16), 127.5),
                       ['backbone.conv1'])['backbone.conv1']
    got = teacher(taps=['backbone.conv1'])(fine)['backbone.conv1']
    assert (got - wanted)[..., 2:-2, 2:-2].abs().max() < 0.05


@pytest.mark.parametrize('bare', [False, True])
def test_checkpoint(teacher, classifier, images, tmp_path, bare):
    state = {key: value for key, value in classifier.state_dict().items()
             if not key.startswith('data_preprocessor.')}
    path = str(tmp_path / 'weights.pth')
    torch.save(state if bare else dict(state_dict=state), path)
    got = teacher(checkpoint=path)(images)[LAYER4]
    torch.testing.assert_close(got, by_itself(classifier, images)[LAYER4])


def test_checkpoint_of_a_run(teacher, load_config, tmp_path, images):
    """Config and weights as a training leaves them behind."""
    from mmengine.runner import Runner
    cfg = load_config('configs/demo/resnet18_scratch_digits.py', 1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    runner = Runner.from_cfg(cfg)
    runner.train()
    path = str(tmp_path / 'config.py')
    cfg.dump(path)
    got = teacher(model=path, checkpoint=str(tmp_path / 'iter_1.pth'))(
        images)[LAYER4]
    wanted = by_itself(runner.model.eval(), images)[LAYER4]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture
def refused(teacher, classifier, tmp_path):

    def check(change, *matches):
        state = dict(classifier.state_dict())
        change(state)
        path = str(tmp_path / 'changed.pth')
        torch.save(dict(state_dict=state), path)
        module = teacher(load=False, checkpoint=path)
        with pytest.raises(ValueError) as error:
            module.init_weights()
        assert module.network is None
        for match in ('`teacher.checkpoint`', path, '`teacher.model`',
                      *matches):
            assert match in str(error.value)

    return check


def test_missing(refused):

    def change(state):
        del state['head.fc.bias'], state['backbone.conv1.weight']

    refused(change, '2 missing', 'head.fc.bias', 'backbone.conv1.weight')


def test_surplus(refused):
    refused(lambda state: state.update(
        {f'backbone.layer5.{i}': torch.zeros(1) for i in range(7)}),
        '7 surplus', 'backbone.layer5.0, backbone.layer5.1')


def test_other_shape(refused):
    refused(lambda state: state.update({'head.fc.weight': torch.zeros(7, 32)}),
            '1 shapes', 'head.fc.weight: (7, 32), the config has (10, 32)')


def test_backbone_alone(refused):
    # a student's checkpoint, or a backbone without its prefix

    def change(state):
        for key in list(state):
            value = state.pop(key)
            if key.startswith('backbone.'):
                state[key[len('backbone.'):]] = value

    refused(change, 'missing', 'surplus', 'conv1.weight')


@pytest.mark.parametrize('content', [None, b'', b'no checkpoint', 0.5])
def test_unreadable(teacher, checkpoint, tmp_path, content):
    path = tmp_path / 'file.pth'
    if content == 0.5:  # the file was cut off
        with open(checkpoint, 'rb') as file:
            content = file.read()
        content = content[:len(content) // 2]
    if content is not None:
        path.write_bytes(content)
    module = teacher(load=False, checkpoint=str(path))
    assert module.feature_shapes == {LAYER4: (32, 2, 2)}
    with pytest.raises(OSError, match='`teacher.checkpoint`') as error:
        module.init_weights()
    assert str(path) in str(error.value)
    assert module.network is None


def test_random_weights(teacher, images):
    module = teacher(checkpoint=None)
    assert module(images)[LAYER4].shape == (4, 32, 2, 2)


@pytest.mark.parametrize('name', ['ImageClassifier', None])
def test_model_without_scope(teacher, classifier, images, name):
    cfg = {key: part for key, part in SMALL.items() if key != 'type'}
    if name:
        cfg['type'] = name
    before = copy.deepcopy(cfg)
    got = teacher(model=cfg)(images)[LAYER4]
    torch.testing.assert_close(got, by_itself(classifier, images)[LAYER4])
    assert cfg == before


def test_model_of_a_file(build, root, images):
    from mmengine.config import Config
    from mmpretrain.registry import MODELS
    path = str(root / RESNET)
    module = build(dict(
        type='repfusion_mm.ClassifierTeacher', model=path, image_size=32,
        taps=['backbone.layer1', LAYER4]))
    assert module.feature_shapes == {
        'backbone.layer1': (64, 32, 32), LAYER4: (512, 4, 4)}
    module.init_weights()

    cfg = Config.fromfile(path)
    model = dict(cfg.model, data_preprocessor=dict(
        cfg.data_preprocessor, type='mmpretrain.ClsDataPreprocessor',
        to_rgb=False))
    model['type'] = 'mmpretrain.ImageClassifier'
    whole = MODELS.build(model).eval()
    # the layers behind the tap have no weights any more
    whole.load_state_dict(module.network.state_dict(), strict=False)
    inputs = torch.rand(2, 3, 32, 32) * 255
    wanted = by_itself(whole, inputs)[LAYER4]
    torch.testing.assert_close(module(inputs)[LAYER4], wanted,
                               rtol=1e-4, atol=1e-5)


def test_stops_behind_the_tap(teacher, classifier, images):
    module = teacher(taps=['backbone.layer2'])
    calls = []
    for child in module.network.modules():
        child.register_forward_pre_hook(lambda m, args: calls.append(m))
    module(images)
    assert sum(isinstance(m, nn.Conv2d) for m in calls) == sum(
        isinstance(m, nn.Conv2d) for name, m in
        classifier.backbone.named_modules()
        if not name.startswith(('layer3', 'layer4')))
    kept = dict(module.network.named_parameters())
    wanted = {name: p for name, p in classifier.named_parameters()
              if not name.startswith(('backbone.layer3', 'backbone.layer4',
                                      'head'))}
    assert set(kept) == set(wanted)
    for name, weight in kept.items():
        assert torch.equal(weight, wanted[name])


def test_is_no_submodule(teacher):
    module = teacher()
    assert not module.state_dict()
    assert not list(module.parameters())
    assert module.network not in set(module.modules())


def test_stays_frozen(teacher, images):
    module = teacher()
    before = copy.deepcopy(module.network.state_dict())
    parent = nn.ModuleList([module])
    parent.train().requires_grad_(True)
    assert not any(m.training for m in module.network.modules())
    assert not any(p.requires_grad for p in module.network.parameters())
    module(images)  # and so its running statistics stay
    for key, value in module.network.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_deepcopy_shares(teacher):
    module = teacher()
    other = copy.deepcopy(nn.ModuleList([module]))[0]
    assert other is not module and other.network is module.network


def test_to(teacher, classifier, images):
    module = teacher()
    parent = nn.ModuleList([module]).to(torch.float64)
    assert {p.dtype for p in module.network.parameters()} == {torch.float64}
    got = module(images.double())[LAYER4]
    torch.testing.assert_close(got, by_itself(classifier, images)[LAYER4],
                               rtol=1e-4, atol=1e-5)
    parent.to('meta')
    assert {p.device.type for p in module.network.parameters()} == {'meta'}
    assert module(images.double().to('meta'))[LAYER4].device.type == 'meta'


def test_to_before_the_weights(teacher):
    module = teacher(load=False)
    nn.ModuleList([module]).to('meta')
    module.init_weights()
    assert {p.device.type for p in module.network.parameters()} == {'meta'}


@pytest.mark.parametrize('how', ['bfloat16', 'autocast'])
def test_low_precision(teacher, images, how):
    wanted = teacher()(images)[LAYER4]
    if how == 'autocast':
        with torch.autocast('cpu', dtype=torch.bfloat16):
            got = teacher()(images)[LAYER4]
    else:
        module = teacher(dtype=how)
        assert {p.dtype for p in module.network.parameters()} == \
            {torch.bfloat16}
        got = module(images)[LAYER4]
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert torch.equal(module(images)[LAYER4], got)
    assert got.dtype == torch.float32
    assert not torch.equal(got, wanted)
    assert (got - wanted).norm() / wanted.norm() < 0.05


@pytest.mark.gpu
def test_gpu(teacher, images):
    wanted = teacher()(images)[LAYER4]
    for dtype, close in ((None, 0.01), ('float16', 0.02)):
        module = teacher(load=False, dtype=dtype).cuda()
        module.init_weights()
        got = module(images.cuda())[LAYER4].cpu()
        assert (got - wanted).norm() / wanted.norm() < close


def test_weights_are_read_once(teacher, monkeypatch):
    module = teacher(load=False)
    reads, read = [], module.read
    monkeypatch.setattr(module, 'read', lambda: reads.append(1) or read())
    module.init_weights()
    before = module.network
    module.init_weights()
    assert module.network is before and len(reads) == 1


def test_forward_without_weights(teacher, images):
    with pytest.raises(RuntimeError, match='init_weights'):
        teacher(load=False)(images)


@pytest.mark.parametrize('cfg, match', [
    (dict(taps=['backbone.layr4']),
     "`teacher.taps` names 'backbone.layr4'.*'backbone.layer4'"),
    (dict(channel_order='grb'), "`teacher.channel_order` is 'grb'"),
    (dict(dtype='int8'), "`teacher.dtype` is 'int8'.*bfloat16")])
def test_wrong_arguments(teacher, cfg, match):
    with pytest.raises(ValueError, match=match):
        teacher(load=False, **cfg)


def test_unknown_model(teacher):
    with pytest.raises(KeyError, match='`model.type`.*'
                       'mmpretrain.ImageClassifier'):
        teacher(load=False, model=dict(SMALL, type='ImageClasifier'))


@pytest.fixture
def distilled(build, repfusion, checkpoint):
    """Stage 1 with a classifier as its teacher."""

    def make(student_tap, teacher_tap, **loss):
        module = build(repfusion(
            teacher=dict(type='repfusion_mm.ClassifierTeacher', model=SMALL,
                         checkpoint=checkpoint, image_size=16),
            time_sampler=dict(type='repfusion_mm.FixedTime'), reward=None,
            connections=[dict(student_tap=student_tap,
                              teacher_tap=teacher_tap, loss=loss)]))
        module.init_weights()
        return module

    return make


HINT = ('layer4', LAYER4), dict(type='repfusion_mm.HintLoss', pool=True)
SOFT = ('out.-1', 'out.0'), dict(type='repfusion_mm.SoftLabelLoss')


@pytest.mark.parametrize('taps, loss', [HINT, SOFT])
def test_learns(distilled, classifier, taps, loss):
    module = distilled(*taps, **loss)
    assert module.teacher.feature_shapes.keys() == {taps[1]}
    inputs = torch.rand(8, 3, 16, 16) * 2 - 1
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    values = []
    for _ in range(30):
        losses = module(inputs, mode='loss')
        optimizer.zero_grad()
        losses['loss_feature'].backward()
        optimizer.step()
        values.append(losses['loss_feature'].item())
    assert torch.tensor(values).isfinite().all()
    assert values[-1] < 0.5 * values[0]
    for name, p in module.named_parameters():
        if not name.startswith('backbone.fc'):
            assert p.grad is not None and p.grad.isfinite().all(), name
    assert set(losses) == {'loss_feature', 'mean_t'}
    assert losses['mean_t'] == 0


def test_loss_is_the_classifiers(distilled, classifier):
    """The student's normalisation is undone, the teacher's done."""
    module = distilled(*SOFT[0], **SOFT[1]).eval()
    inputs = torch.rand(4, 3, 16, 16) * 2 - 1
    losses = module(inputs, mode='loss')
    raw = (inputs + 1) * 127.5
    logits = by_itself(classifier, raw, ['out.0'])['out.0'] / 4
    mine = module.connections[0].projector(
        module.backbone(inputs)[-1]).mean((2, 3)) / 4
    wanted = 16 * (F.softmax(logits, 1) * (
        F.log_softmax(logits, 1) - F.log_softmax(mine, 1))).sum(1).mean()
    torch.testing.assert_close(losses['loss_feature'], wanted, rtol=1e-4,
                               atol=1e-5)


def test_time_beyond_it(build, repfusion, checkpoint):
    with pytest.raises(ValueError, match=r'`time_sampler` may draw t = 999.*0 '
                       'to 0'):
        build(repfusion(
            teacher=dict(type='repfusion_mm.ClassifierTeacher', model=SMALL,
                         image_size=16),
            connections=[dict(student_tap='layer4', teacher_tap=LAYER4)]))
