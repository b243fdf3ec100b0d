import copy
import json
import zlib

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from torch import nn

from repfusion_mm.analysis.look import RIDGES, SCALES, look
from repfusion_mm.analysis.looked_images import LookedImages
from repfusion_mm.models.rewards.base import RewardInputs
from repfusion_mm.models.rewards.held_out_reward import FOLDS, folds_of

TIMES = [100, 500, 900]
REINFORCED = 'configs/demo/repfusion_resnet18_reinforced_digits.py'
HELD_OUT = {
    'model.time_sampler.look': True,
    'model.time_sampler.entropy_weight': 0.,
    'model.reward': dict(_delete_=True, type='repfusion_mm.HeldOutReward')}


class Teacher(nn.Module):
    """The image's map times a matrix of its own for each t, and noise."""
    num_timesteps = 1000

    def __init__(self, shape):
        super().__init__()
        self.feature_shapes = dict(map=shape)
        self.mixes = {t: torch.randn(
            shape[0], 3, generator=torch.Generator().manual_seed(t))
            for t in TIMES}

    def read_samples(self, data_samples):
        return None

    def forward(self, images, timesteps, told=None):
        size = self.feature_shapes['map'][1:] or (1, 1)
        small = nn.functional.adaptive_avg_pool2d(images / 255, size)
        mix = torch.stack([self.mixes[int(t)] for t in timesteps])
        known = torch.einsum('nkc,nchw->nkhw', mix, small)
        known = known + 0.1 * torch.randn_like(known)
        return dict(map=known if len(self.feature_shapes['map']) == 3
                    else known.flatten(1))


def named(data_samples, views=1):
    for number, sample in enumerate(data_samples):
        sample.set_metainfo(dict(img_path=f'{number // views}.jpg'))
    return data_samples


def images_of(count, views=1):
    """Of one colour each, and some noise."""
    return (200 * torch.rand(count, 1, 3, 1, 1) +
            55 * torch.rand(count, views, 3, 16, 16)).round()


@pytest.fixture
def reward(build):

    def make(shape, **cfg):
        return build(dict(type='repfusion_mm.HeldOutReward',
                          feature_shapes=dict(map=shape), **cfg))

    return make


def taught(reward, teacher, images, data_samples):
    """A reward that has learnt from a look at these images."""
    seen = look(teacher, LookedImages(
        images.to(torch.uint8), data_samples, list(range(len(images)))),
        TIMES, ['map'], fit=True)['map']
    module = reward(teacher.feature_shapes['map'])
    module.learn_from(seen.fits)
    return module


def classes_of(images):
    return (images.mean((1, 3, 4))[:, 0] > 127.5).long()


def batch(teacher, images, t, data_samples):
    timesteps = torch.tensor(t)
    return RewardInputs(images, timesteps, teacher(images, timesteps), {},
                        data_samples)


def test_against_scikit_learn(reward, samples):
    from sklearn.linear_model import Ridge
    teacher, views = Teacher((7, )), 2
    images = images_of(30, views)
    labels = classes_of(images)
    data = named(samples(labels.repeat_interleave(views).tolist()), views)
    torch.manual_seed(5)
    module = taught(reward, teacher, images, data)
    torch.manual_seed(5)  # the same noise
    flat = images.flatten(0, 1)
    z = {t: teacher(flat, torch.full((60, ), t))['map'].double().numpy()
         for t in TIMES}
    hot = np.eye(2)[labels.repeat_interleave(views)]
    folds = folds_of(data).numpy()
    assert 1 < len(set(folds)) <= FOLDS
    assert (folds[::2] == folds[1::2]).all()  # an image's views
    # 2 of these images, at any t of those, and as they were looked at
    for row, t in ((0, 100), (0, 900), (17, 500)):
        feature = torch.from_numpy(z[t][[row]]).float()
        value, mask, losses = module(RewardInputs(
            flat[[row]], torch.tensor([t]), dict(map=feature), {},
            [data[row]]))
        others = folds != folds[row]
        near = []
        for ridge in RIDGES:  # whichever the look has taken
            own = z[t][others] - z[t][others].mean(0)
            fit = Ridge(ridge * (own**2).sum()).fit(z[t][others], hot[others])
            # as if the fold had not made its classes rarer
            logits = fit.predict(z[t][[row]])[0] + hot.mean(0) - \
                hot[others].mean(0)
            near += [float((hot[row] * (logits * scale - np.log(
                np.exp(logits * scale).sum()))).sum()) for scale in SCALES]
        assert np.abs(np.array(near) - float(value)).min() < 1e-4
        assert mask.all() and losses == {}


def test_t_is_judged_by_its_own_fit(reward, samples):
    """At each t the classes lie elsewhere: one fit for all would fail."""
    teacher = Teacher((7, ))
    images = images_of(60)
    data = named(samples(classes_of(images).tolist()))
    module = taught(reward, teacher, images, data)
    t = [TIMES[i % 3] for i in range(60)]
    value, _, _ = module(batch(teacher, images[:, 0], t, data))
    ignorance = -np.log(2)
    assert value.mean() > 0.6 * ignorance
    # what is read by another t's fit is worse than ignorance
    inputs = batch(teacher, images[:, 0], t, data)
    wrong = inputs._replace(timesteps=inputs.timesteps.roll(1))
    assert module(wrong)[0].mean() < ignorance
    # between two time steps, the nearest
    near = inputs._replace(timesteps=inputs.timesteps + 40)
    assert torch.equal(module(near)[0], module(inputs)[0])


def test_its_own_label_does_not_help(reward, samples):
    teacher = Teacher((40, ))
    images = images_of(24)
    data = named(samples(torch.randint(2, (24, )).tolist()))  # of nothing
    module = taught(reward, teacher, images, data)
    value, _, _ = module(batch(teacher, images[:, 0], [500] * 24, data))
    assert value.mean() < -0.6  # ignorance: -log 2


def test_nothing_learnt(reward, samples):
    teacher, images = Teacher((7, )), images_of(4)
    with pytest.raises(ValueError, match='there was none: set `time_samp'):
        reward((7, ))(batch(teacher, images[:, 0], [100] * 4,
                            named(samples([0, 1, 0, 1]))))


def test_images_that_are_not_told_apart(samples):
    data = samples([0, 1])
    for number, sample in enumerate(data):
        sample.set_metainfo(dict(sample_idx=number))
    assert folds_of(data).tolist() == [
        zlib.crc32(b'0') % FOLDS, zlib.crc32(b'1') % FOLDS]
    with pytest.raises(ValueError, match='`img_path` or.* a `sample_idx`'):
        folds_of(samples([0, 1]))


def test_unlabelled_and_unknown(reward, samples):
    teacher = Teacher((7, ))
    images = images_of(40)
    labels = classes_of(images)
    module = taught(reward, teacher, images, named(samples(labels.tolist())))
    others = images_of(6)
    labels = classes_of(others)
    labels[[1, 4]] = -1
    value, mask, _ = module(batch(teacher, others[:, 0], [100] * 6, named(
        samples(labels.tolist()))))
    assert torch.equal(mask, labels >= 0)
    assert not value[~mask].any() and (value[mask] < 0).all()


def test_masks(reward):
    from mmseg.structures import SegDataSample
    teacher, images = Teacher((6, 8, 8)), images_of(30)
    images[:, :, 0] = (nn.functional.interpolate(
        torch.rand(30, 1, 4, 4), (16, 16)) * 255).round()
    data = named([SegDataSample(gt_sem_seg=PixelData(
        data=(image[0, :1] > 127).long())) for image in images])
    module = taught(reward, teacher, images, data)
    data[3].gt_sem_seg.data.fill_(255)
    value, mask, _ = module(batch(teacher, images[:, 0], [500] * 30, data))
    assert mask.sum() == 29 and not mask[3] and value[3] == 0
    assert value[mask].mean() > -0.35  # half of the cells' squares: -0.5


def test_keypoints(reward):
    from mmpose.structures import PoseDataSample
    teacher, images, data = Teacher((6, 8, 8)), images_of(40), []
    images = images // 8
    for image in images:
        x, y = torch.randint(2, 14, (2, )).tolist()
        image[0, 0, y - 1:y + 2, x - 1:x + 2] = 255
        data.append(PoseDataSample(gt_instances=InstanceData(
            transformed_keypoints=np.array([[[x, y]]], np.float32),
            keypoints_visible=np.ones((1, 1), np.float32))))
    module = taught(reward, teacher, images, named(data))
    data[5].gt_instances.keypoints_visible[:] = 0
    value, mask, _ = module(batch(teacher, images[:, 0], [100] * 40, data))
    assert mask.sum() == 39 and not mask[5]
    assert value[mask].mean() > -0.8  # an empty heatmap: -1


def test_kept_in_a_checkpoint(reward, samples):
    teacher = Teacher((7, ))
    images = images_of(20)
    data = named(samples(classes_of(images).tolist()))
    module, fresh = taught(reward, teacher, images, data), reward((7, ))
    assert not list(fresh.parameters())
    fresh.load_state_dict(copy.deepcopy(module.state_dict()))
    inputs = batch(teacher, images[:, 0], [900] * 20, data)
    assert torch.equal(fresh(inputs)[0], module(inputs)[0])


def run(load_config, steps, resume=False, **options):
    runner = Runner.from_cfg(load_config(
        REINFORCED, steps, resume=resume, **{**HELD_OUT, **options}))
    runner.train()
    return runner


def test_in_a_training(load_config, tmp_path):
    runner = run(load_config, 4)
    reward = runner.model.reward
    assert reward.weight.shape[:2] == (20, FOLDS)
    assert reward.weight.shape[3] == 10
    # the digits are in memory: told apart, so that no fit is without images
    assert (reward.weight.abs().sum((0, 2, 3)) > 0).all()
    scalars = [json.loads(line) for line in next(
        tmp_path.rglob('scalars.json')).read_text().splitlines()]
    rewards = [row['mean_reward'] for row in scalars if 'mean_reward' in row]
    assert len(set(rewards)) == len(rewards) == 4 and max(rewards) < 0
    # fits that know nothing would reward all alike
    assert min(abs(one + np.log(10)) for one in rewards) > 1e-3
    assert any(row['loss_policy'] for row in scalars if 'loss_policy' in row)
    before = reward.weight.clone()
    runner = run(load_config, 6, resume=True)
    assert torch.equal(runner.model.reward.weight, before)


@pytest.mark.parametrize('options, message', [
    ({'model.time_sampler.look': False},
     '`reward` HeldOutReward reads .*set `time_sampler.look` to True'),
    ({'model.time_sampler.look': dict(_delete_=True, reward='frequency')},
     'the look was without them: leave out `time_sampler.look.reward`')])
def test_it_takes_a_look_by_labels(load_config, options, message):
    with pytest.raises(ValueError, match=message):
        run(load_config, 2, **options)
