import copy
import json
import os
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from repfusion_mm.models.teachers.bank.store import FeatureBank
from repfusion_mm.models.teachers.base.frozen_teacher import FrozenTeacher

TAP, DOWN = 'mid_block.resnets.1', 'down_blocks.0.resnets.0'
PACK = dict(type='mmpretrain.PackInputs')
DIGITS = dict(type='repfusion_mm.Digits', split='val', pipeline=[PACK])
HALF = dict(rtol=1e-3, atol=1e-3)


@pytest.fixture(scope='module')
def digits():
    """Raw digits, (200, 3, 16, 16)."""
    dataset = DATASETS.build(DIGITS)
    return torch.stack([dataset[i]['inputs'] for i in range(200)]).float()


@pytest.fixture
def config(pipeline_folder, tmp_path):
    """Config of a bank of the validation digits; keywords replace parts."""

    def make(pretrained=pipeline_folder, **parts):
        return dict(dict(
            type='repfusion_mm.BankedTeacher',
            teacher=dict(type='repfusion_mm.UNetTeacher',
                         pretrained=pretrained),
            bank=str(tmp_path / 'bank'), dataset=DIGITS, channel_order='rgb',
            timesteps=[100, 300]), **parts)

    return make


@pytest.fixture
def banked(build, config):
    """An open bank with two taps."""

    def make(**parts):
        teacher = build(config(**{'taps': [TAP, DOWN], **parts}))
        teacher.init_weights()
        return teacher

    return make


@pytest.fixture
def sample():
    """The data sample of an image of the bank."""
    from mmpretrain.structures import DataSample

    def make(index, flip=False, label=1, **more):
        direction = 'horizontal' if flip else None
        return DataSample(metainfo=dict(
            dict(sample_idx=index, flip=flip, flip_direction=direction),
            **more)).set_gt_label(label)

    return make


@pytest.fixture
def count(monkeypatch):
    """How many images the network looked at."""
    looked = []

    def features(self, inputs, *args, real=FrozenTeacher.features):
        looked.append(len(inputs))
        return real(self, inputs, *args)

    monkeypatch.setattr(FrozenTeacher, 'features', features)
    return lambda: sum(looked)


@pytest.fixture
def reference(unet, digits):
    """z(t), pooled, by a complete pass in float64."""
    network = copy.deepcopy(unet).double()

    def run(tap, images, timesteps):
        kept = {}
        handle = network.get_submodule(tap).register_forward_hook(
            lambda module, args, output: kept.update(z=output.clone()))
        with torch.no_grad():
            network(images.double() / 127.5 - 1, torch.tensor(timesteps))
        handle.remove()
        return kept['z'].mean((2, 3)).float()

    return run


def test_features(banked, sample, digits, reference, count):
    teacher = banked()
    assert teacher.feature_shapes == {TAP: (32, ), DOWN: (16, )}
    samples = [sample(7), sample(3, True), sample(7, True), sample(7)]
    views = teacher.read_samples(samples)
    crops = torch.zeros(4, 3, 16, 16)  # whatever the student sees
    timesteps = torch.tensor([100, 300, 300, 100])
    whole = digits[[7, 3, 7, 7]]
    whole[1:3] = whole[1:3].flip(3)
    for looks in (3, 0):  # the first and the last are one entry
        before = count()
        features = teacher(crops, timesteps, views)
        assert count() - before == looks
        for tap in (TAP, DOWN):
            torch.testing.assert_close(
                features[tap], reference(tap, whole, timesteps.tolist()),
                **HALF)
    # in another order of the taps: a later run's, of the same bank
    other = banked(taps=[DOWN, TAP])
    before = count()
    again = other(crops, timesteps, views)
    assert count() == before and list(other.feature_shapes) == [DOWN, TAP]
    for tap in (TAP, DOWN):
        assert torch.equal(again[tap], features[tap])


def test_bins(banked, sample, digits, reference):
    # the middle of each bin stands for all of it, and for no other t
    teacher = banked(timesteps=[25, 75], bin_width=50, flips=False)
    views = teacher.read_samples([sample(i) for i in range(4)])
    found = teacher(None, torch.tensor([0, 49, 50, 99]), views)[TAP]
    torch.testing.assert_close(
        found, reference(TAP, digits[:4], [25, 25, 75, 75]), **HALF)
    for t in (100, 999):
        with pytest.raises(ValueError, match=f't = {t} was drawn, but `teache'
                           r'r.timesteps` is \[25, 75\] with `teacher.bin_wi'):
            teacher(None, torch.tensor([0, 0, 0, t]), views)


def test_odd_bins(build, config):
    bins = build(config(timesteps=[1, 4], bin_width=3))._bin_of
    assert bins.tolist() == [0, 0, 0, 1, 1, 1] + [-1] * 994


def test_losses_are_those_of_the_slow_path(build, repfusion, config, sample,
                                           digits):
    """On the same whole images, in the student's very step."""
    parts = dict(time_sampler=dict(type='repfusion_mm.FixedTime', t=300),
                 connections=[
                     dict(student_tap='layer4', teacher_tap=tap,
                          loss=dict(type='repfusion_mm.HintLoss', pool=True))
                     for tap in (TAP, DOWN)])
    slow = build(repfusion(**parts))
    slow.init_weights()
    fast = build(repfusion(teacher=config(), **parts))
    fast.init_weights()
    fast.load_state_dict(slow.state_dict())  # the teacher is in neither
    samples = [sample(0), sample(1, True), sample(2), sample(3, True)]
    whole = digits[:4].clone()
    whole[1::2] = whole[1::2].flip(3)
    inputs = whole / 127.5 - 1
    wanted = slow(inputs, samples, mode='loss')
    for _ in range(2):  # computed, and drawn
        found = fast(inputs, samples, mode='loss')
        assert set(found) == set(wanted)
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], rtol=1e-3,
                                       atol=1e-4)
    sum(loss for name, loss in found.items() if 'loss' in name).backward()
    assert fast.backbone.conv1.weight.grad.abs().sum() > 0


def test_reinforced_time(build, repfusion, config, sample, digits):
    # policy and reward work on a bank of its bins
    model = build(repfusion(teacher=config(
        timesteps=list(range(50, 1000, 100)), bin_width=100)))
    model.init_weights()
    losses = model(digits[:6] / 127.5 - 1,
                   [sample(i, label=i - 1) for i in range(6)], mode='loss')
    assert {'loss_policy', 'loss_entropy', 'loss_reward'} <= set(losses)
    middle = model.timesteps // 100 * 100 + 50
    z = model.teacher.teacher(digits[:6], middle)[TAP].mean((2, 3))
    scores = model.reward.classifier(z)[1:]
    torch.testing.assert_close(
        losses['loss_reward'], F.cross_entropy(scores, torch.arange(5)),
        rtol=1e-3, atol=1e-3)


def test_size_and_mixed_sizes(build, config, tmp_path, digits, sample):
    # whole images of any size are resized to the teacher's
    import cv2
    for name, side in (('a', 16), ('b', 24)):
        image = digits[5].permute(1, 2, 0).numpy()
        cv2.imwrite(str(tmp_path / f'{name}.png'),
                    cv2.resize(image, (side, side)))
    teacher = build(config(channel_order='bgr', dataset=dict(
        type='mmpretrain.CustomDataset', data_prefix=str(tmp_path),
        with_label=False,
        pipeline=[dict(type='mmpretrain.LoadImageFromFile'), PACK])))
    teacher.init_weights()
    paths = [str(tmp_path / name) for name in ('a.png', 'b.png')]
    views = teacher.read_samples([
        sample(0, True, img_path=path) for path in paths])
    assert views.tolist() == [1, 3]
    found = teacher(None, torch.tensor([100, 100]), views)['mid_block']
    for path, one in zip(paths, found):
        image = torch.from_numpy(cv2.imread(path)[..., ::-1].copy())
        image = image.permute(2, 0, 1)[None].float().flip(3)
        wanted = teacher.teacher(image, torch.tensor([100]))['mid_block']
        torch.testing.assert_close(one, wanted[0].mean((1, 2)), **HALF)


def test_fill(banked, sample, count, digits):
    teacher = banked()
    teacher(None, torch.tensor([100]), teacher.read_samples([sample(5)]))
    before = count()
    left = list(teacher.fill(300))
    assert left == [799, 499, 199, 0] and count() - before == 799
    assert list(teacher.fill(300)) == [0]
    assert count() - before == 799
    # every entry is that of its image, t and side
    views = torch.arange(400)
    for t in (100, 300):
        found = teacher(None, torch.full((400, ), t), views)[DOWN]
        whole = torch.stack([digits, digits.flip(3)], 1).flatten(0, 1)
        wanted = teacher.teacher(whole, torch.full((400, ), t))[DOWN]
        torch.testing.assert_close(found, wanted.mean((2, 3)), **HALF)


def test_full_bank_reads_no_weights(banked, build, config, monkeypatch,
                                    sample, count):
    first = banked()
    list(first.fill(100))
    monkeypatch.setattr(FrozenTeacher, 'init_weights', None)
    teacher, before = banked(), count()
    view = teacher.read_samples([sample(9)])
    t = torch.tensor([300])
    assert torch.equal(teacher(None, t, view)[TAP], first(None, t, view)[TAP])
    assert count() == before and teacher.teacher.network is None


def test_full_bank_without_teacher(banked, build, config, repfusion, sample,
                                   pipeline_folder, tmp_path, digits):
    folder = shutil.copytree(pipeline_folder, tmp_path / 'teacher')
    parts = dict(pretrained=str(folder), taps=[TAP])
    teacher = banked(**parts)
    # not before it is full
    os.rename(folder, tmp_path / 'elsewhere')
    with pytest.raises(FileNotFoundError, match='teacher.pretrained'):
        build(config(**parts))
    list(teacher.fill(100))
    model = build(repfusion(
        teacher=config(str(folder)), reward=None,
        time_sampler=dict(type='repfusion_mm.FixedTime', t=300)))
    model.init_weights()
    losses = model(digits[:1] / 127.5 - 1, [sample(0)], mode='loss')
    assert losses['loss_feature'] > 0
    assert model.teacher.image_size == (16, 16)
    assert model.teacher.num_timesteps == 1000
    # another tap is not in it
    with pytest.raises(ValueError, match='`teacher.taps` is .* needs'):
        build(repfusion(teacher=config(str(folder)), connections=[
            dict(student_tap='layer4', teacher_tap=DOWN,
                 loss=dict(type='repfusion_mm.HintLoss', pool=True))]))
    # nor can a damaged row be computed
    with open(tmp_path / 'bank' / 'features.f16', 'r+b') as file:
        file.write(b'12345678')
    with pytest.raises(FileNotFoundError, match='damaged rows, and the teach'):
        model.teacher(None, torch.tensor([100]), torch.tensor([0]))


def test_moved_teacher_is_the_same(banked, pipeline_folder, tmp_path, count):
    teacher = banked()
    list(teacher.fill(100))
    before = count()
    folder = shutil.copytree(pipeline_folder, tmp_path / 'moved')
    moved = banked(pretrained=str(folder))
    assert moved._bank.is_full and count() == before
    # where its weights are, their hash is looked at
    assert moved.teacher.network is not None


def test_torn_row_heals(banked, sample, tmp_path, count):
    teacher = banked()
    list(teacher.fill(400))
    view, t = teacher.read_samples([sample(0)]), torch.tensor([100])
    wanted = teacher(None, t, view)[TAP]
    with open(tmp_path / 'bank' / 'features.f16', 'r+b') as file:
        file.write(b'12345678')
    for looks in (1, 0):
        again, before = banked(), count()
        assert torch.allclose(again(None, t, view)[TAP], wanted, **HALF)
        assert count() - before == looks


def other_weights(folder):
    """Another denoiser of the same architecture, at the same place."""
    from diffusers import UNet2DModel
    unet = UNet2DModel.from_pretrained(folder, subfolder='unet')
    unet.conv_in.bias.data[0] += 1e-3
    unet.save_pretrained(os.path.join(folder, 'unet'))


@pytest.mark.parametrize('full', [True, False])
def test_other_weights_are_refused(banked, pipeline_folder, tmp_path, full):
    folder = str(shutil.copytree(pipeline_folder, tmp_path / 'teacher'))
    teacher = banked(pretrained=folder, timesteps=[100])
    if full:
        list(teacher.fill(400))
    other_weights(folder)
    with pytest.raises(ValueError, match='the weights of `teacher.teacher`, b'
                       'y their hash: .* there, .* now. Name another folder'):
        banked(pretrained=folder, timesteps=[100])


@pytest.mark.parametrize('change, message', [
    (dict(taps=[TAP]), 'the taps of the connections and the reward: '),
    (dict(taps=[TAP, 'conv_in']), "'conv_in': 16.* now"),
    (dict(timesteps=[100]), r'`teacher.timesteps`: \[100, 300\] there, \[100'),
    (dict(timesteps=[300, 100]), '`teacher.timesteps`'),
    (dict(bin_width=2), '`teacher.bin_width`: 1 there, 2 now'),
    (dict(flips=False), '`teacher.flips`: True there, False now'),
    (dict(channel_order='bgr'), '`teacher.dataset`, its images, pipeline or '
     'channel order'),
    (dict(dataset=dict(DIGITS, split='train')),
     'the number of images in `teacher.dataset`: 200 there, 1097 now'),
    (dict(dataset=dict(DIGITS, pipeline=[
        dict(type='mmpretrain.Resize', scale=8), PACK])), '`teacher.dataset`'),
    (dict(input_range=(0, 1)), 'the settings of `teacher.teacher`: {.input_ra'
     r'nge.: \[-1.0, 1.0\]} there, {.input_range.: \[0, 1\]} now'),
    (dict(dtype='bfloat16'), "'dtype': None} there, {'dtype': 'bfloat16'}"),
])
def test_another_bank_is_refused(banked, config, build, change, message):
    teacher = banked()
    for full in (False, True):
        if full:
            list(teacher.fill(400))
        cfg = config(taps=[TAP, DOWN])
        for name, value in change.items():
            place = cfg['teacher'] if name in ('input_range', 'dtype') else cfg
            place[name] = value
        with pytest.raises(ValueError, match=f'{message}.*Name another'):
            build(cfg).init_weights()


def test_the_same_in_other_words_is_accepted(banked, config, build):
    teacher = banked()
    cfg = config(taps=[TAP, DOWN], timesteps=range(100, 500, 200))
    cfg['teacher'].update(input_range=[-1, 1], add_noise=False)
    again = build(cfg)
    again.init_weights()
    assert again._bank.key == teacher._bank.key


@pytest.mark.parametrize('change, message', [
    (dict(timesteps=[]), '`teacher.timesteps` is empty'),
    (dict(timesteps=[1000]), r'\[1000\] .* must lie in \[0, 1000\)'),
    (dict(timesteps=[0], bin_width=3), 'must lie in'),
    (dict(timesteps=[10, 12], bin_width=3), 'not overlap'),
    (dict(timesteps=[10, 10]), 'not overlap'),
    (dict(timesteps=[10], bin_width=0), '`bin_width` is 0'),
])
def test_wrong_timesteps(build, config, change, message):
    with pytest.raises(ValueError, match=message):
        build(config(**change))


def test_teachers_that_cannot_be_stored(build, config, tiny):
    cfg = config()
    cfg['teacher']['add_noise'] = True
    with pytest.raises(ValueError, match='add_noise` is True: each look'):
        build(cfg)
    cfg['teacher'] = dict(
        type='repfusion_mm.UNetTeacher',
        config=dict(tiny, num_class_embeds=4),
        class_condition=dict(class_map=[0, 1]))
    with pytest.raises(ValueError, match='class_condition` tells the'):
        build(cfg)
    cfg['teacher']['class_condition'] = dict(average='all')
    build(cfg)


def test_models_that_cannot_use_it(build, repfusion, config):
    fixed = dict(teacher=config(), reward=None,
                 time_sampler=dict(type='repfusion_mm.FixedTime', t=100))
    build(repfusion(**fixed))
    with pytest.raises(ValueError, match='batch_augments` mixes images'):
        build(repfusion(**fixed, data_preprocessor=dict(
            type='mmpretrain.ClsDataPreprocessor', num_classes=10,
            batch_augments=dict(augments=[dict(type='mmpretrain.Mixup',
                                               alpha=1.)]))))
    with pytest.raises(ValueError, match='ContrastiveReward, which shows the'):
        build(repfusion(teacher=config(), reward=dict(
            type='repfusion_mm.ContrastiveReward')))
    with pytest.raises(ValueError, match=r'of shape \(32,\), but HintLoss nee'
                       'ds a map .*`pool=True`'):
        build(repfusion(**fixed, connections=[
            dict(student_tap='layer4', teacher_tap=TAP)]))


def test_flips_must_be_told(banked, sample):
    teacher = banked()
    silent = sample(0)
    del silent.flip
    with pytest.raises(ValueError, match='no `flip`: name it among the'):
        teacher.read_samples([silent])
    with pytest.raises(ValueError, match="`flip_direction` 'vertical', but "
                       '`teacher.flips` is True'):
        teacher.read_samples([sample(0, True, flip_direction='vertical')])
    with pytest.raises(ValueError, match='not in `teacher.dataset`'):
        teacher.read_samples([sample(200)])


def test_no_flips(banked, sample):
    teacher = banked(flips=False)
    silent = sample(3)
    del silent.flip
    assert teacher.read_samples([silent, sample(4)]).tolist() == [6, 8]
    with pytest.raises(ValueError, match='`teacher.flips` is False'):
        teacher.read_samples([sample(0, True)])
    assert len(teacher._bank.missing) == 400


def test_features_beyond_half_precision(banked, sample, monkeypatch):
    teacher = banked()
    monkeypatch.setattr(
        FrozenTeacher, 'features', lambda self, inputs, *args: {
            tap: torch.full((len(inputs), shape[0]), 7e4)
            for tap, shape in self.feature_shapes.items()})
    with pytest.raises(FloatingPointError, match='beyond half precision'):
        teacher(None, torch.tensor([100]), torch.tensor([0]))
    assert len(teacher._bank.missing) == 800  # nothing was stored


def test_filled_in_full_precision_under_autocast(banked, sample):
    teacher, plain = banked(), banked()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = teacher(None, torch.tensor([100]), torch.tensor([0]))[TAP]
    wanted = plain._compute(np.array([0]), torch.device('cpu'))
    assert found.dtype == torch.float32
    assert np.array_equal(
        torch.cat([teacher(None, torch.tensor([100]), torch.tensor([0]))[tap]
                   for tap in teacher._columns], 1).half().numpy(), wanted)


def test_life_of_the_parts(build, repfusion, config, tmp_path):
    model = build(repfusion(teacher=config(), reward=None, time_sampler=dict(
        type='repfusion_mm.FixedTime', t=100)))
    assert not (tmp_path / 'bank').exists()  # a built model writes nothing
    with pytest.raises(RuntimeError, match='`init_weights\\(\\)`'):
        model.teacher(None, torch.tensor([100]), torch.tensor([0]))
    model.init_weights()
    assert not any('teacher' in key for key in model.state_dict())
    assert not list(model.teacher.parameters())
    assert copy.deepcopy(model).teacher._bank is model.teacher._bank
    model.train()
    assert not model.teacher.teacher.network.training


def test_occupied_folder(build, config, tmp_path):
    (tmp_path / 'bank').mkdir()
    build(config()).init_weights()  # an empty one is as good as none
    shutil.rmtree(tmp_path / 'bank')
    (tmp_path / 'bank').mkdir()
    (tmp_path / 'bank' / 'mine.txt').touch()
    with pytest.raises(ValueError, match='this is no feature bank'):
        build(config()).init_weights()


def run(load_config, tmp_path, **options):
    """A few steps of the demo's config."""
    runner = Runner.from_cfg(load_config(
        'configs/demo/repfusion_resnet18_bank_digits.py',
        **{'model.teacher.bank': str(tmp_path / 'bank'), **options}))
    runner.train()
    return runner


def test_demo(load_config, tmp_path, count, reference):
    """The real Runner, config, teacher and data: filled, then drawn."""
    run(load_config, tmp_path, iters=3)
    bank = FeatureBank(str(tmp_path / 'bank'))
    assert 0 < 1097 - len(bank.missing) == count() <= 48
    # the whole digits at t = 100, whatever crops the student saw
    held = np.setdiff1d(np.arange(1097), bank.missing)
    dataset = DATASETS.build(dict(DIGITS, split='train'))
    whole = torch.stack([dataset[i]['inputs'] for i in held]).float()
    torch.testing.assert_close(
        torch.from_numpy(bank.read(held)[0]).float(),
        reference(TAP, whole, [100] * len(held)), **HALF)
    looked = count()
    # the same batches again: nothing is left to compute, and losses are equal
    first = losses(tmp_path)
    init_default_scope('mmengine')
    run(load_config, tmp_path, iters=3)
    assert count() == looked and losses(tmp_path) == first


def losses(tmp_path):
    """Of the last run in a work dir."""
    path = sorted(tmp_path.glob('*/vis_data/scalars.json'))[-1]
    return [json.loads(line)['loss'] for line in path.read_text().splitlines()]


def test_demo_of_other_images(load_config, tmp_path):
    # before the first step, by the hook
    with pytest.raises(ValueError, match='image 0 of `train_dataloader.datas'
                       'et` has other pixels'):
        run(load_config, tmp_path, **{'model.teacher.dataset.split': 'test'})
