"""Bad inputs, and the sentence that each must give."""
import copy
import math

import pytest
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS

from tests.test_bad_configs.working import (
    DIGITS,
    TAP,
    TEACHER,
    example,
    registered,
    train,
    write_files,
)

UNIFORM = dict(type='repfusion_mm.UniformTime')
PAIR = dict(student_tap='layer4', teacher_tap=TAP)
HINT = dict(type='repfusion_mm.HintLoss')
# class, what is changed of a config that works, and what is to be said
TABLE = [
    # transforms
    ('LoadCheckedImage', dict(bad_images='skipp'), "`bad_images` is 'skipp', "
     "expected one of ('raise', 'skip'); nearest: 'skip'"),
    ('LoadCheckedImage', dict(max_pixels=0), '`max_pixels` is 0, but '
     'LoadCheckedImage expects a whole number of at least 1'),
    ('LoadCheckedImage', dict(max_pixels=10), 'has 16x16 pixels, more than '
     '`max_pixels`, 10'),
    ('LoadCheckedMask', dict(bad_images=True), '`bad_images` is True, but '
     'LoadCheckedMask expects a string'),
    # teachers
    ('UNetTeacher', dict(pretraned='x'), "`teacher.pretraned`: UNetTeacher "
     "has no such argument; nearest: 'pretrained'"),
    ('UNetTeacher', dict(config=None), '`teacher` needs `pretrained` (a '
     'folder or hub id), `config`, or both'),
    ('UNetTeacher', dict(config=dict(sample_sise=16)), "'sample_sise'"),
    ('UNetTeacher', dict(pretrained='no/such folder'),
     "`teacher.pretrained` is 'no/such folder'"),
    ('UNetTeacher', dict(taps=['mid_block.resnets.1', 'mid_blok']),
     "`teacher.taps` names 'mid_blok', which is no module of UNet2DModel; "
     "nearest: 'mid_block'"),
    ('UNetTeacher', dict(taps='mid_block'), "`teacher.taps` is 'mid_block', "
     'but UNetTeacher expects a list of strings, or None'),
    ('UNetTeacher', dict(image_size=15), '`teacher.image_size` is 15, but '
     'the denoiser halves its input 1 times, so each side must be a multiple '
     'of 2; nearest: 14 or 16'),
    ('UNetTeacher', dict(image_size=(16, 16, 16)), '`teacher.image_size` is '
     '(16, 16, 16), but UNetTeacher expects a whole number of at least 1, or '
     'a list of whole numbers of at least 1 (2 of them), or None'),
    ('UNetTeacher', dict(input_range=(1, -1)), '`teacher.input_range` must '
     'be (value of black, value of 255), got (1, -1)'),
    ('UNetTeacher', dict(input_range=[0]), '`teacher.input_range` is [0], '
     'but UNetTeacher expects a list of finite numbers (2 of them)'),
    ('UNetTeacher', dict(dtype='float15'), "`teacher.dtype` is 'float15', "
     "expected one of ['bfloat16', 'float16', 'float32'] or None"),
    ('UNetTeacher', dict(add_noise='yes'), "`teacher.add_noise` is 'yes', "
     'but UNetTeacher expects True or False'),
    ('UNetTeacher', dict(compile=dict(mod='x')), "`teacher.compile` has no "
     "'mod'; nearest: 'mode'"),
    ('UNetTeacher', dict(class_condition=dict(fixed=1)),
     '`teacher.class_condition` is'),
    ('UNetTeacher', dict(channels_last=1), '`teacher.channels_last` is 1, '
     'but UNetTeacher expects True or False'),
    ('DiffusionTeacher', dict(latents='median'), "`teacher.latents` is "
     "'median', expected one of"),
    ('DiffusionTeacher', dict(add_noise=-1), '`teacher.add_noise` is -1, '
     'expected False, True, or how many draws'),
    ('DiffusionTeacher', dict(config=3), '`teacher.config` is 3, but '
     'DiffusionTeacher expects a string, or None'),
    ('GuidedDiffusionTeacher', dict(preset='65x65'), "'65x65'"),
    ('GuidedDiffusionTeacher', dict(num_chanels=32), "no flag `num_chanels`; "
     "nearest: 'num_channels'"),
    ('ClassifierTeacher', dict(channel_order='grb'),
     "`teacher.channel_order` is 'grb', expected one of"),
    ('ClassifierTeacher', dict(image_size=0), '`teacher.image_size` is 0, '
     'but ClassifierTeacher expects a whole number of at least 1'),
    ('ClassifierTeacher', dict(model=dict(type='ImageClasifier')),
     "`teacher.model.type` is 'mmpretrain.ImageClasifier', which is "
     "registered nowhere; nearest: 'mmpretrain.ImageClassifier'"),
    ('ClassifierTeacher', dict(model='no_such.py'), "`teacher.model` is "
     "'no_such.py', expected a file of a config, or a config"),
    ('SeveralTeachers', dict(timesteps=dict(early=1000)),
     '`teacher.timesteps.early` is 1000, expected t from 0 to 999'),
    ('SeveralTeachers', dict(timesteps=dict(late=1)),
     "exactly one is left to the time sampler"),
    ('SeveralTeachers', dict(timesteps=dict(early='ten')),
     "`teacher.timesteps.early` is 'ten', but SeveralTeachers expects a "
     'whole number, or a list of whole numbers'),
    ('SeveralTeachers', dict(teachers=dict(drawn=5, early=TEACHER)),
     '`teacher.teachers.drawn` is 5, but SeveralTeachers expects a dict'),
    # the bank
    ('BankedTeacher', dict(timesteps=[]), '`teacher.timesteps` is empty: '
     'name the t to store'),
    ('BankedTeacher', dict(timesteps=[1000]), 'which must lie in [0, 1000)'),
    ('BankedTeacher', dict(timesteps=[-1]), '`teacher.timesteps[0]` is -1, '
     'but BankedTeacher expects a whole number of at least 0'),
    ('BankedTeacher', dict(bin_width=0), '`teacher.bin_width` is 0, but '
     'BankedTeacher expects a whole number of at least 1'),
    ('BankedTeacher', dict(teacher=dict(TEACHER, add_noise=True)),
     '`teacher.teacher.add_noise` is True'),
    ('BankedTeacher', dict(teacher=dict(TEACHER, typ=1)),
     '`teacher.teacher.typ`: UNetTeacher has no such argument'),
    ('BankedTeacher', dict(channel_order='rbg'), "`teacher.channel_order` is "
     "'rbg', expected one of"),
    ('BankedTeacher', dict(dataset=dict(DIGITS, split='vol')),
     "`split` is 'vol', expected one of ('train', 'val', 'test')"),
    # time samplers
    ('FixedTime', dict(t=-1), '`time_sampler.t` must be a whole number of at '
     "least 0, or 'auto', got -1"),
    ('FixedTime', dict(t=1000), '`time_sampler` may draw t = 1000, but the '
     'teacher knows 0 to 999'),
    ('FixedTime', dict(t=1.5), '`time_sampler.t` is 1.5, but FixedTime '
     'expects a whole number, or a string'),
    ('UniformTime', dict(max_t=1.5), '`time_sampler.max_t` is 1.5, but '
     'UniformTime expects a whole number of at least 1'),
    ('UniformTime', dict(min_t=9, max_t=9), '0 <= min_t < max_t'),
    ('UniformTime', dict(max_t=[10, 20]), '`time_sampler` has 2 ranges, but '
     'there are 1 `connections`'),
    ('ReinforcedTime', dict(num_bins=3), '`time_sampler.num_bins` must '
     'divide `num_timesteps`, got 3 and 1000'),
    ('ReinforcedTime', dict(entropy_weight=math.nan),
     '`time_sampler.entropy_weight` is nan, but ReinforcedTime expects a '
     'finite number of at least 0'),
    ('ReinforcedTime', dict(baseline='leave_two_out'),
     "`time_sampler.baseline` is 'leave_two_out', expected one of"),
    ('ReinforcedTime', dict(num_draws=0), '`time_sampler.num_draws` is 0, '
     'but ReinforcedTime expects a whole number of at least 1'),
    ('ReinforcedTime', dict(look=dict(shar=0.1)), "`time_sampler.look` has "
     "'shar'"),
    ('ReinforcedTime', dict(policy=dict(type='repfusion_mm.LeNetPolice')),
     "`time_sampler.policy.type` is 'repfusion_mm.LeNetPolice', which is "
     "registered nowhere; nearest: 'repfusion_mm.LeNetPolicy'"),
    ('LeNetPolicy', dict(image_size=8), '`policy.image_size` of 8 is too '
     'small'),
    ('LeNetPolicy', dict(channels=[6, 0]), '`time_sampler.policy.channels[1]`'
     ' is 0, but LeNetPolicy expects a whole number of at least 1'),
    # rewards
    ('ClassificationReward', dict(num_classes=1), '`reward.num_classes` must '
     'be at least 2, got 1'),
    ('ClassificationReward', dict(hidden=[8, 'x']), "`reward.hidden[1]` is "
     "'x', but ClassificationReward expects a whole number of at least 1"),
    ('ClassificationReward', dict(hidden=[2**62]), '`reward.hidden[0]` is '
     '4611686018427387904, but ClassificationReward expects a whole number '
     'up to 2**32'),
    ('LeastSquaresReward', dict(num_classes=2**62), '`reward.num_classes` is '
     '4611686018427387904, but LeastSquaresReward expects a whole number up '
     'to 2**32'),
    ('LeastSquaresReward', dict(ridge=0), '`reward.ridge` is 0, but '
     'LeastSquaresReward expects a finite number above 0'),
    ('ContrastiveReward', dict(min_crop=1.5), '`reward.min_crop` is a share '
     'of the side, above 0 and up to 1, got 1.5'),
    ('SegmentationReward', dict(ignore_index=None), '`reward.ignore_index` '
     'is None, but SegmentationReward expects a whole number'),
    ('KeypointReward', dict(heatmap_size=(8, 8, 8)), '`reward.heatmap_size` '
     'is (8, 8, 8), but KeypointReward expects a list of whole numbers of at '
     'least 1 (2 of them)'),
    ('StudentProgressReward', dict(student_tap='layer5'),
     "`reward.student_tap` is 'layer5', expected a student tap of "
     "`connections`; nearest: 'layer4'"),
    ('StudentProgressReward', dict(num_clases=3), "`reward.num_clases`: "
     "StudentProgressReward has no such argument; nearest: 'num_classes'"),
    ('HeldOutReward', dict(tap=3), '`reward.tap` is 3, but HeldOutReward '
     'expects a string, or None'),
    # connections, taps and losses
    ('Connection', dict(resize='both'), "`connections.resize` is 'both', "
     "expected 'student' or 'teacher'"),
    ('Connection', dict(student_tap='layer5'), "`connections.student_tap` "
     "names 'layer5', which is no module of ResNet; nearest: 'layer"
     '|`connections.student_tap` names'),
    ('Connection', dict(teacher_tap='mid_blok'), "`teacher.taps` names "
     "'mid_blok'"),
    ('Connection', dict(loss=dict(type='repfusion_mm.HintLos')),
     "`connections[0].loss.type` is 'repfusion_mm.HintLos', which is "
     "registered nowhere; nearest: 'repfusion_mm.HintLoss'"),
    ('Connection', dict(loss=dict(HINT, wait=1)),
     '`connections[0].loss.wait`: HintLoss has no such argument'),
    ('Connection', dict(loss=dict(pool=True)), '`connections[0].loss` must '
     'be a config dict with a `type`'),
    ('HintLoss', dict(distance='l3'), "`loss.distance` is 'l3', expected one "
     "of ['l1', 'l2']"),
    ('HintLoss', dict(loss_weight=-1), '`connections[0].loss.loss_weight` is '
     '-1, but HintLoss expects a finite number of at least 0'),
    ('HintLoss', dict(pool='yes'), "`connections[0].loss.pool` is 'yes', but "
     'HintLoss expects True or False'),
    ('InfoNCELoss', dict(temperature=0), '`connections[0].loss.temperature` '
     'is 0, but InfoNCELoss expects a finite number above 0'),
    ('RelationalLoss', dict(chunk_size=2.5), '`connections[0].loss.chunk_size'
     '` is 2.5, but RelationalLoss expects a whole number of at least 1'),
    ('CKALoss', dict(loss_weight=math.inf), '`connections[0].loss.'
     'loss_weight` is inf, but CKALoss expects a finite number'),
    ('ContrastiveRepresentationLoss', dict(dataset_size=None),
     '`connections[0].loss.dataset_size` is None, but '
     'ContrastiveRepresentationLoss expects a whole number of at least 1'),
    ('TopDownRegressor', dict(out_channels=0), '`regressor.out_channels` is '
     '0, but TopDownRegressor expects a whole number of at least 1'),
    # distillers
    ('RepFusion', dict(conections=[]), "`conections`: RepFusion has no such "
     "argument; nearest: 'connections'"),
    ('RepFusion', dict(connections=[]), '`connections` is empty: the student '
     'would learn nothing'),
    ('RepFusion', dict(connections=[PAIR, PAIR]), '`connections` names the '
     'same pair of taps twice'),
    ('RepFusion', dict(connections=PAIR), 'but RepFusion expects a list of '
     'dicts'),
    ('RepFusion', dict(channel_order='gbr'), "`channel_order` is 'gbr', "
     'expected one of'),
    ('RepFusion', dict(trial_size=(224, 0)), '`trial_size[1]` is 0, but '
     'RepFusion expects a whole number of at least 1'),
    ('RepFusion', dict(raw_image=dict(rang=(0, 1))), "`raw_image` has no "
     "'rang'; nearest: 'range'"),
    ('RepFusion', dict(time_sampler=dict(type='repfusion_mm.ReinforcedTime')),
     'ReinforcedTime learns from a reward: set `reward`'),
    ('RepFusion', dict(backbone=dict(type='mmpretrain.ResNet', depth=17)),
     '`backbone` cannot be built: KeyError: '),
    ('RepFusion', dict(backbone=dict(type='mmpretrain.ResNt', depth=18)),
     "`backbone.type` is 'mmpretrain.ResNt', which is registered nowhere; "
     "nearest: 'mmpretrain.ResNet'"),
    ('RepFusion', dict(data_preprocessor=dict(type='mmpretrain.No')),
     "`data_preprocessor.type` is 'mmpretrain.No', which is registered "
     'nowhere'),
    ('RepFusion', dict(compile='max'), "`compile` is 'max', but RepFusion "
     'expects True or False, or a dict'),
    ('StridedBackbone', dict(strides={'conv9': 1}), "`backbone.strides` names"
     " 'conv9', which is no layer with a stride of ResNet_CIFAR; nearest: "
     "'conv1'"),
    # joint tasks
    ('JointRepFusion', dict(task=dict(type='mmpretrain.ImageClasifier')),
     "`task.type` is 'mmpretrain.ImageClasifier', which is registered "
     'nowhere'),
    ('JointRepFusion', dict(task=UNIFORM), '`task` is a UniformTime, which '
     'has no `extract_feat`'),
    ('JointRepFusion', dict(distill_weight=-1), '`distill_weight` is -1, but '
     'JointRepFusion expects a finite number of at least 0'),
    ('JointRepFusion', dict(balance='True'), "`balance` is 'True', but "
     'JointRepFusion expects True or False'),
    # DPM
    ('DPM', dict(num_timesteps=0), '`num_timesteps` is 0, but DPM expects a '
     'whole number of at least 1'),
    ('DPM', dict(beta_schedule='quadratic'), "`beta_schedule` is 'quadratic',"
     " expected one that diffusers' DDPMScheduler knows"),
    ('DPM', dict(denoiser=dict(sample_sise=16)), '`denoiser`: diffusers '
     'cannot build a UNet2DModel from it: '),
    # hooks
    ('TimeSamplerHook', dict(interval=0), '`interval` is 0, but '
     'TimeSamplerHook expects a whole number of at least 1'),
    ('TimeSamplerHook', dict(schedules=[dict(attribute='max_t')]),
     '`schedules[0].end` is missing: Schedule needs it'),
    ('TimeSamplerHook', dict(schedules=[dict(attribute='max_t', edn=5)]),
     "`schedules[0].edn`: Schedule has no such argument; nearest: 'end'"),
    ('TimeSamplerHook', dict(schedules=[dict(attribute='max', end=5)]),
     "`schedules` names 'max', which is no number of UniformTime; nearest: "
     "'max_t'"),
    ('TimeSamplerHook', dict(schedules=[dict(attribute='max_t', end=-1)]),
     "`schedules` takes 'max_t' to -1, but `time_sampler` needs 0 <= min_t"),
    ('TimeSamplerHook', dict(schedules=[dict(attribute='max_t', end=25.5)]),
     "`schedules` takes 'max_t' to 25.5, expected a whole number"),
    ('TimeSamplerHook', dict(schedules=[
        dict(attribute='max_t', end=5, over=1.5)]), '`schedules.over` is a '
     'share of the training'),
    ('ExactResumeHook', dict(interval=1), '`interval`: ExactResumeHook has '
     'no such argument, and no other'),
    ('SkippedImagesHook', dict(file='x'), '`file`: SkippedImagesHook has no '
     'such argument'),
    ('FiniteHook', dict(stop=True), '`stop`: FiniteHook has no such argument'
     ', and no other'),
    ('PretrainedCheckHook', dict(key=1), '`key`: PretrainedCheckHook has no '
     'such argument'),
    ('DeferLogHook', dict(interval=9), '`interval`: DeferLogHook has no such '
     'argument'),
    ('FeatureQualityHook', dict(num_images=5), '`num_images` is 5, but '
     'FeatureQualityHook expects a whole number of at least 10'),
    ('FeatureQualityHook', dict(keep_best='prob'), "`keep_best` is 'prob', "
     'expected one of'),
    ('FeatureQualityHook', dict(patience=0.5), '`patience` is 0.5, but '
     'FeatureQualityHook expects a whole number of at least 1, or None'),
    ('DPMExportHook', dict(num_samples=-1), '`num_samples` is -1, but '
     'DPMExportHook expects a whole number of at least 0'),
    ('DPMExportHook', dict(half='no'), "`half` is 'no', but DPMExportHook "
     'expects True or False'),
    # data sets
    ('FewLabels', dict(part='labeled'), "`part` is 'labeled', expected one "
     "of ('labelled', 'unlabelled')"),
    ('FewLabels', dict(labels_per_class=-2), '`labels_per_class` is -2, but '
     'FewLabels expects a whole number of at least 0, or None'),
    ('FewLabels', dict(num_labelled=3), '`labels_per_class` is 2 and '
     '`num_labelled` 3; give one of the two'),
    ('FewLabels', dict(labels_per_class=10**6), '`labels_per_class` is '
     '1000000, but class 0 has only'),
    ('FewLabels', dict(seed=-1), '`seed` is -1, but FewLabels expects a '
     'whole number of at least 0'),
    ('FewLabels', dict(dataset=dict(type='repfusion_mm.Digit')),
     "`dataset.type` is 'repfusion_mm.Digit', which no dataset is registered "
     "as; nearest: 'repfusion_mm.Digits'"),
    ('CachedImages', dict(num_transforms=9), '`dataset.num_transforms` is 9, '
     'expected 1 to 2'),
    ('CachedImages', dict(num_transforms='all'), "`num_transforms` is 'all', "
     'but cached_images expects a whole number of at least 1'),
    ('CachedImages', dict(dataset=dict(type='mmpretrain.CIFR10')),
     '`dataset'),
    ('Digits', dict(split='valid'), "`split` is 'valid', expected one of "
     "('train', 'val', 'test')"),
    ('TinyImageNet', dict(data_root='no/such'), "`data_root` is 'no/such', "
     'but there is no'),
    ('CelebAMaskHQ', dict(background='no'), "`background` is 'no', but "
     'CelebAMaskHQ expects True or False'),
    # optimizers
    ('BFloat16OptimWrapper', dict(accumulative_count=2),
     "`accumulative_count`: BFloat16OptimWrapper has no such argument; "
     "nearest: 'accumulative_counts'"),
    ('TaskOptimWrapperConstructor', dict(paramwise_cfg=None),
     '`optim_wrapper.paramwise_cfg` has no `task_constructor`'),
    ('TaskOptimWrapperConstructor', dict(paramwise_cfg=dict(
        task_constructor='NoSuchConstructor')), '`optim_wrapper.'
     'paramwise_cfg.task_constructor` cannot be built: KeyError'),
]
# tool, its arguments, and what it says as it ends
OPTIONS = [
    ('train', ['a.py', '--device', 'tpu'], 'argument --device: invalid '
     "choice: 'tpu'"),
    ('train', ['a.py', '--amp-dtype', 'float8'], 'argument --amp-dtype: '
     "invalid choice: 'float8'"),
    ('train', ['a.py', '--launcher', 'mp'], 'argument --launcher: invalid '
     "choice: 'mp'"),
    ('train', ['a.py', '--resum', '--worker', '3'], 'unrecognized arguments: '
     '--worker 3'),
    ('test', ['a.py', 'b.pth', '--interval', '0'], 'argument --interval: '
     "'0', expected a whole number of at least 1"),
    ('test', ['a.py', 'b.pth', '--out', 'x.json'], '--out x.json: predictions '
     'are saved as .pkl'),
    ('analysis_tools/will_it_pay', ['a.py', '--times', '0'],
     "argument --times: '0', expected a whole number of at least 1"),
    ('analysis_tools/will_it_pay', ['a.py', '--steps', 'many'],
     "argument --steps: 'many', expected a whole number of at least 1"),
    ('analysis_tools/probe_time', ['a.py', '--seeds', '-1'],
     "argument --seeds: '-1', expected a whole number of at least 1"),
    ('analysis_tools/probe_time', ['a.py', '--split', 'train'],
     "argument --split: invalid choice: 'train'"),
    ('analysis_tools/fill_bank', ['a.py', '--batch-size', '0.5'],
     "argument --batch-size: '0.5', expected a whole number of at least 1"),
    ('model_converters/publish_student', ['a', 'b', '--single-scale'],
     '--single-scale needs --to'),
    ('model_converters/to_safetensors', ['a', 'b.pth'], 'out is b.pth, '
     'expected a name that ends in .safetensors'),
    ('model_converters/guided_diffusion_to_diffusers',
     ['a', 'b', '--preset', '1x1'], "argument --preset: invalid choice: "
     "'1x1'"),
]


@pytest.fixture(scope='module', autouse=True)
def files(tmp_path_factory):
    write_files(tmp_path_factory.mktemp('files'))


def test_there_are_enough():
    assert len(TABLE) + len(OPTIONS) >= 80
    assert {name for name, *_ in TABLE} >= set(registered()) - {
        'AttentionTransferLoss', 'AttentiveFeatureLoss', 'ConstantPolicy',
        'CosineLoss', 'SoftLabelLoss'}  # as the other losses and policies


@pytest.mark.parametrize('name, change, sentence', TABLE, ids=[
    f'{name}-{next(iter(change))}-{number}'
    for number, (name, change, _) in enumerate(TABLE)])
def test_class(name, change, sentence, tmp_path):
    cfg = {**example(name, registered()[name][1]),
           **copy.deepcopy(change), 'type': f'repfusion_mm.{name}'}
    with pytest.raises(Exception) as raised:
        train(name, cfg, tmp_path)
    assert any(one in str(raised.value) for one in sentence.split('|')), \
        str(raised.value)


@pytest.mark.parametrize('name, arguments, sentence', OPTIONS)
def test_option(name, arguments, sentence, tool, capsys):
    with pytest.raises(SystemExit):
        tool(name).parse_args(arguments)
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize('registry, name, near', [
    (MMENGINE_HOOKS, 'TimeSamplrHook', 'TimeSamplerHook'),
    (MMENGINE_MODELS, 'RepFusoin', 'RepFusion')])
def test_type_that_mmengine_looks_up(registry, name, near):
    with pytest.raises(KeyError, match=f"`type` is '{name}'.* nearest: "
                                       f"'repfusion_mm.{near}'"):
        registry.build(dict(type=f'repfusion_mm.{name}'))
