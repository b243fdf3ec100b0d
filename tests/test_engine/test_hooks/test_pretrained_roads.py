"""Every road by which weights come into a model, with PretrainedCheckHook."""
import logging

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn


class Backbone(BaseModule):
    """A convolution and a norm; ``renamed`` has a loader of its own."""

    def __init__(self, width=4, renamed=False, init_cfg=None):
        super().__init__(init_cfg)
        self.renamed = renamed
        self.conv = nn.Conv2d(3, width, 1)
        self.bn = nn.BatchNorm2d(width, momentum=0.)
        self.register_buffer('table', torch.arange(3))

    def forward(self, x):
        return self.bn(self.conv(x)).mean((2, 3))

    def init_weights(self):  # as mmseg's SwinTransformer and mmpose's PVT
        if not self.renamed:
            return super().init_weights()
        weights = CheckpointLoader.load_checkpoint(self.init_cfg['checkpoint'])
        weights = weights.get('model', weights)
        self.load_state_dict({key.replace('stem.', 'conv.'): value
                              for key, value in weights.items()}, strict=False)


class Grown(Backbone):
    """Repeats a smaller kernel as it is loaded, as a ViT its embedding."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = nn.Conv2d(3, 4, 3)
        self._register_load_state_dict_pre_hook(self._grow)

    def _grow(self, state_dict, prefix, *args):
        key = prefix + 'conv.weight'
        if key in state_dict and state_dict[key].shape[-1] == 1:
            state_dict[key] = state_dict[key].expand(-1, -1, 3, 3)


class Restless(Backbone):
    """Sets weights behind its loader, as ShuffleNetV2 may do."""

    def init_weights(self):
        super().init_weights()
        self.conv.weight.data.normal_()  # which no counter of writes notes


class Bare(BaseModel):
    """A model that calls no part of it ``backbone``."""

    def __init__(self, classes=2, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.body, self.fc = Backbone(), nn.Linear(4, classes)

    def forward(self, inputs, mode='tensor'):
        loss = self.fc(self.body(torch.stack(inputs))).mean()
        return dict(loss=loss)


class Model(BaseModel):

    def __init__(self, backbone=None, classes=2, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        backbone = dict(dict(type='Backbone'), **(backbone or {}))
        self.backbone = MODELS.build(backbone)
        self.head = nn.Linear(4, classes)

    def forward(self, inputs, mode='tensor'):
        loss = self.head(self.backbone(torch.stack(inputs))).mean()
        return dict(loss=loss)


CLASSES = [Backbone, Grown, Restless, Model, Bare]


@pytest.fixture(autouse=True)
def registered():
    for cls in CLASSES:
        MODELS.register_module(module=cls)
    yield
    for cls in CLASSES:
        del MODELS.module_dict[cls.__name__]


@pytest.fixture
def weights():
    model = Model()
    model.backbone.bn.running_mean.normal_()
    return model.state_dict()


@pytest.fixture
def save(tmp_path):

    def write(content, name='pretrained.pth'):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.fixture
def train(tmp_path):
    """Trains without a learning rate, so that what arrived is still there."""

    def run(model=None, hooks=(), name='run', max_iters=1, **options):
        runner = Runner(
            dict(dict(type='Model'), **(model or {})),
            work_dir=str(tmp_path / name), experiment_name=name,
            train_dataloader=dict(
                batch_size=2, dataset=[dict(inputs=torch.ones(3, 4, 4))] * 4,
                sampler=dict(type='InfiniteSampler', shuffle=False)),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0., momentum=.9)),
            train_cfg=dict(by_epoch=False, max_iters=max_iters),
            custom_hooks=[dict(type='repfusion_mm.PretrainedCheckHook'),
                          *hooks], **options)
        runner.train()
        return runner.model

    return run


def pretrained(path, **more):
    return dict(type='Pretrained', checkpoint=path, **more)


def part(weights, prefix):
    return {key[len(prefix):]: value for key, value in weights.items()
            if key.startswith(prefix)}


def said(caplog):
    return ' '.join(record.getMessage() for record in caplog.records)


@pytest.fixture
def log(caplog, monkeypatch):
    """What the hook says; MMEngine's loggers do not propagate."""
    from repfusion_mm.engine.hooks import pretrained_check_hook
    monkeypatch.setattr(
        pretrained_check_hook, 'print_log',
        lambda text, logger, level: logging.getLogger().log(level, text))
    caplog.set_level(logging.INFO)
    return lambda: said(caplog)


def arrived(module, weights):
    return all(torch.equal(value, weights[key]) for key, value
               in module.state_dict().items()
               if 'num_batches_tracked' not in key)


# --- init_cfg ---------------------------------------------------------------


@pytest.mark.parametrize('layout', ['surplus', 'no counters', 'no table',
                                    'bare', 'wrapped', 'ddp', 'ema'])
def test_files_that_the_loader_takes(train, save, weights, log, layout):
    one, prefix = part(weights, 'backbone.'), None
    if layout == 'surplus':
        one['fc.weight'] = torch.zeros(5, 4)
    if layout == 'no counters':
        del one['bn.num_batches_tracked']
    if layout == 'no table':  # which the model has computed for itself
        del one['table']
    if layout == 'wrapped':
        one = dict(state_dict=one, meta=dict(iter=3))
    if layout == 'ddp':
        one = {f'module.{key}': value for key, value in one.items()}
    if layout == 'ema':
        one = dict(state_dict=weights, ema_state_dict={
            f'module.{key}': value + 1 for key, value in weights.items()})
        prefix = 'backbone'
    model = train(dict(backbone=dict(
        init_cfg=pretrained(save(one), prefix=prefix))))
    weights['backbone.table'] = torch.arange(3)
    assert arrived(model.backbone, part(weights, 'backbone.'))
    assert '6 of 6 weights arrived' in log()
    assert ('no place in the model, for example [\'fc.weight\']' in log()) \
        == (layout == 'surplus')


@pytest.mark.parametrize('lacking', ['conv.weight', 'bn.running_var'])
def test_missing_weight(train, save, weights, lacking):
    one = part(weights, 'backbone.')
    del one[lacking]
    with pytest.raises(ValueError, match='model.backbone.init_cfg: .* does not'
                       rf" fit: 1 keys are missing .*\['{lacking}'\].* leave "
                       'out PretrainedCheckHook'):
        train(dict(backbone=dict(init_cfg=pretrained(save(one)))))


def test_wrapped_otherwise(train, save, weights):
    path = save(dict(teacher=part(weights, 'backbone.'), epoch=3))
    with pytest.raises(ValueError, match=r"lie under \['teacher'\], and MMEng"
                       r"ine reads `state_dict`: save `torch.load\(...\)\['te"
                       r"acher'\]` alone"):
        train(dict(backbone=dict(init_cfg=pretrained(path))))


@pytest.mark.parametrize('given, needed', [
    (None, 'task.backbone.'), ('backbone.', 'task.backbone.'),
    ('task.head.', 'task.backbone.')])
def test_prefix_that_is_needed(train, save, weights, given, needed):
    path = save({f'task.{key}': value for key, value in weights.items()})
    with pytest.raises(ValueError, match=f"need `prefix='{needed}'`"):
        train(dict(backbone=dict(init_cfg=pretrained(path, prefix=given))))


def test_list_of_several(train, save, weights):
    path = save(weights)
    init_cfg = [dict(type='Kaiming', layer='Conv2d'),
                pretrained(path, prefix='backbone.')]
    model = train(dict(backbone=dict(init_cfg=init_cfg)))
    assert arrived(model.backbone, part(weights, 'backbone.'))
    init_cfg[1]['prefix'] = 'head.'
    with pytest.raises(ValueError, match="does not fit.*'backbone.'"):
        train(dict(backbone=dict(init_cfg=init_cfg)), name='other')


def test_whole_model_with_another_head(train, save, weights, log):
    init_cfg = pretrained(save(weights))
    model = train(dict(init_cfg=init_cfg, classes=3))
    assert arrived(model.backbone, part(weights, 'backbone.'))
    assert '6 of 8 weights arrived; NOT 2 of `head`, which keep their ' \
        "initial values: ['head.weight: (2, 4) in the file, (3, 4) in the " \
        'model\'' in log()


def test_whole_model_that_nothing_reaches(train, save, weights):
    # though its backbone has weights from elsewhere
    path = save(weights)
    other = save({'a.b': torch.zeros(2)}, 'other.pth')
    with pytest.raises(ValueError, match=r'model.init_cfg: .*other.pth does n'
                       r'ot fit: 8 keys.*of another model'):
        train(dict(init_cfg=pretrained(other), backbone=dict(
            init_cfg=pretrained(path, prefix='backbone.'))))


def test_loader_of_its_own(train, save, weights):
    one = part(weights, 'backbone.')
    theirs = dict(model={key.replace('conv.', 'stem.'): value
                         for key, value in one.items()})
    model = train(dict(backbone=dict(
        renamed=True, init_cfg=pretrained(save(theirs)))))
    assert arrived(model.backbone, one)


def test_loader_that_ignores_the_prefix(train, save, weights):
    # mmseg's VisionTransformer loads nothing then, and says so at most
    init_cfg = pretrained(save(weights), prefix='backbone.')
    with pytest.raises(ValueError, match='does not fit: 6 keys are missing'):
        train(dict(backbone=dict(renamed=True, init_cfg=init_cfg)))


def test_weight_that_is_resized(train, save, weights):
    one = part(weights, 'backbone.')
    model = train(dict(backbone=dict(
        type='Grown', init_cfg=pretrained(save(one)))))
    assert torch.equal(model.backbone.conv.weight,
                       one['conv.weight'].expand(-1, -1, 3, 3))


def test_set_again(train, save, weights):
    with pytest.raises(ValueError, match=r"1 weights are not those of .*\['co"
                       r"nv.weight'\]; something initialised them again"):
        train(dict(backbone=dict(type='Restless', init_cfg=pretrained(
            save(part(weights, 'backbone.'))))))


def test_not_a_number_has_arrived(train, save, weights):
    one = part(weights, 'backbone.')
    one['conv.bias'][0] = float('nan')
    train(dict(backbone=dict(init_cfg=pretrained(save(one)))))


def test_no_file_but_an_address(train, save, weights, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', {
        'hub://': lambda name, map_location: part(weights, 'backbone.'),
        **CheckpointLoader._schemes})
    model = train(dict(backbone=dict(init_cfg=pretrained('hub://tiny'))))
    assert arrived(model.backbone, part(weights, 'backbone.'))


def test_beside_a_moving_average(train, save, weights):
    # the hook's copy of the model is not what is watched
    ema = dict(type='EMAHook', priority='LOWEST')
    model = train(dict(backbone=dict(init_cfg=pretrained(
        save(weights), prefix='backbone.'))), hooks=[ema])
    assert arrived(model.backbone, part(weights, 'backbone.'))
    assert not model.backbone._load_state_dict_pre_hooks
    assert 'init_weights' not in vars(model.backbone)


# --- load_from --------------------------------------------------------------


def test_load_from(train, save, weights, log):
    model = train(load_from=save(dict(state_dict=weights)))
    assert arrived(model, weights)
    assert 'load_from: of' in log() and '8 of 8 weights' in log()


@pytest.mark.parametrize('content', ['other classes', 'backbone', 'stage 1'])
def test_load_from_may_lack_a_head(train, save, weights, log, content):
    model, given = dict(classes=3), dict(weights)
    if content != 'other classes':
        given = {key: value for key, value in weights.items()
                 if key.startswith('backbone.')}
    if content == 'stage 1':
        given['connections.0.projector.bias'] = torch.zeros(2)
    model = train(model, load_from=save(given))
    assert arrived(model.backbone, part(weights, 'backbone.'))
    assert 'NOT 2 of `head`' in log()
    assert ('connections.0' in log()) == (content == 'stage 1')


@pytest.mark.parametrize('content, remedy', [
    ('joint', r"it would fit as model.init_cfg=dict\(type='Pretrained', check"
     r"point='.*', prefix='task.'\)"),
    ('bare', r"as model.backbone.init_cfg=dict\(type='Pretrained', checkpoint"
     r"='[^']*'\)"),
    ('deeper', r"as model.backbone.init_cfg=.*prefix='backbone.context.'"),
    ('foreign', 'it seems to be of another model')])
def test_load_from_that_fits_nowhere(train, save, weights, content, remedy):
    one = part(weights, 'backbone.')
    given = dict(joint={f'task.{k}': v for k, v in weights.items()}, bare=one,
                 deeper={f'backbone.context.{k}': v for k, v in one.items()},
                 foreign={'a.b.c': torch.zeros(3)})[content]
    with pytest.raises(ValueError, match='load_from: .* does not fit: 8 keys '
                       'are missing.*' + remedy):
        train(load_from=save(given))


def test_load_from_half_a_backbone(train, save, weights):
    del weights['backbone.bn.weight']
    with pytest.raises(ValueError, match='load_from: .*1 keys are missing.*'
                       "'backbone.bn.weight'.* leave out"):
        train(load_from=save(weights))


def test_load_from_other_widths(train, save, weights):
    with pytest.raises(ValueError, match='load_from: .*6 shapes differ, for '
                       r'example \[.backbone.conv.weight: \(4, 3, 1, 1\) in '
                       r'the file, \(5, 3, 1, 1\) in the model'):
        train(dict(backbone=dict(width=5)), load_from=save(weights))


def test_load_from_without_a_backbone(train, save):
    weights = Bare().state_dict()
    train(dict(type='Bare'), load_from=save(weights))
    del weights['fc.bias']
    with pytest.raises(ValueError, match='1 keys are missing'):
        train(dict(type='Bare'), name='other', load_from=save(weights))


def test_load_from_no_file(train):
    with pytest.raises(FileNotFoundError, match="load_from is 'gone.pth'"):
        train(load_from='gone.pth')


def test_load_from_replaces_what_init_cfg_brought(train, save, weights):
    first = save(Model().state_dict(), 'first.pth')
    model = train(dict(backbone=dict(
        init_cfg=pretrained(first, prefix='backbone.'))),
        load_from=save(weights))
    assert arrived(model, weights)


# --- resume -----------------------------------------------------------------


def test_resume(train, tmp_path):
    model = train()
    again = train(max_iters=2, resume=True)
    assert arrived(again, model.state_dict())


def test_resume_of_another_model(train, tmp_path):
    train()
    with pytest.raises(ValueError, match='resume: .*epoch_1.pth does not fit: '
                       '2 shapes differ.*`load_from` without `resume`'):
        train(dict(classes=3), max_iters=2, resume=True)


def test_trained_twice(train, save, weights):

    class Again(Hook):  # MMEngine does not load the weights a second time

        def after_run(self, runner):
            type(self).after_run = Hook.after_run
            runner.train()

    train(dict(backbone=dict(init_cfg=pretrained(
        save(weights), prefix='backbone.'))), hooks=[Again()])
