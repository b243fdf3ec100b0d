import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

CONFIG = 'configs/demo/resnet18_repfusion_digits.py'


@pytest.fixture(scope='module')
def student():
    """The weights of a distilled backbone."""
    from mmpretrain.registry import MODELS
    module = MODELS.build(dict(
        type='ResNet_CIFAR', depth=18, stem_channels=16, base_channels=16))
    for p in module.parameters():
        nn.init.normal_(p, std=0.05)
    return module.state_dict()


@pytest.fixture
def save(tmp_path):
    """Writes a stage-1 checkpoint."""

    def write(weights, prefix='backbone.'):
        path = str(tmp_path / 'stage1.pth')
        state = {prefix + key: value for key, value in weights.items()}
        state['connections.0.projector.bias'] = torch.zeros(3)
        torch.save(dict(state_dict=state), path)
        return path

    return write


@pytest.fixture
def runner(load_config, save):
    """A run of stage 2."""

    def make(checkpoint, hook=None, **options):
        cfg = load_config(CONFIG, **{
            'model.backbone.init_cfg.checkpoint': checkpoint, **options})
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
        run = Runner.from_cfg(cfg)
        if hook is not None:
            run.register_hook(hook)
        return run

    return make


def refused(run, match, error=ValueError):
    with pytest.raises(error, match=match):
        run.train()
    assert run.iter == 0
    assert 'train/loss' not in run.message_hub.log_scalars


class Recorder(Hook):
    """The backbone's weights as training starts."""
    priority = 'LOWEST'
    weights = None

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.weights is None:
            self.weights = {
                key: value.clone() for key, value
                in runner.model.backbone.state_dict().items()}


def test_good(runner, save, student):
    recorder = Recorder()
    run = runner(save(student), recorder)
    run.train()
    assert run.iter == 2
    for key, value in recorder.weights.items():
        assert torch.equal(value, student[key]), key


@pytest.mark.parametrize('prefix', ['backbone', 'backbone.'])
def test_prefix_with_or_without_dot(runner, save, student, prefix):
    run = runner(save(student),
                 **{'model.backbone.init_cfg.prefix': prefix})
    run.train()
    assert run.iter == 2


def test_missing_file(runner):
    refused(runner('no/such/file.pth'), r'model.backbone.init_cfg.checkpoint '
            "is 'no/such/file.pth'.*stage 1", FileNotFoundError)


def test_absent_prefix(runner, save, student):
    refused(runner(save(student, 'backbon.')),
            "init_cfg.prefix is 'backbone.'.*nearest: 'backbon.'")


def test_no_prefix(runner, save, student):
    run = runner(save(student), **{'model.backbone.init_cfg.prefix': None})
    refused(run, "does not fit.*missing.*`prefix='backbone.'`")


def test_foreign_keys(runner, save, student):
    # what the file holds beside the backbone does no harm
    run = runner(save({**student, 'neck.weight': torch.zeros(2)}))
    run.train()
    assert run.iter == 2


def test_missing_keys(runner, save, student):
    less = {key: value for key, value in student.items()
            if not key.startswith('layer4.1')}
    lost = [key for key in student.keys() - less.keys()
            if 'num_batches_tracked' not in key]
    refused(runner(save(less)),
            f'{len(lost)} keys are missing in the file.*layer4.1.conv1.weight')


def test_other_shapes(runner, save, student):
    other = {**student, 'conv1.weight': torch.zeros(16, 1, 3, 3)}
    refused(runner(save(other)), r'1 shapes differ.*conv1.weight: '
            r'\(16, 1, 3, 3\) in the file, \(16, 3, 3, 3\) in the model')


def test_deeper_model(runner, save, student):
    run = runner(save(student), **{'model.backbone.depth': 34})
    refused(run, 'keys are missing in the file')


def test_overwritten(runner, save, student):

    class Overwrite(Hook):

        def before_train(self, runner):
            nn.init.normal_(runner.model.backbone.conv1.weight)

    refused(runner(save(student), Overwrite()),
            r"1 weights are not those.*\['conv1.weight'\].*again")


def test_never_loaded(runner, save, student):

    class Skip(Hook):  # someone's model that forgets `super().init_weights`

        def before_run(self, runner):
            runner.model.init_weights = lambda: None

    refused(runner(save(student), Skip()), 'weights are not those')


def test_resumed_run(runner, save, student):
    run = runner(save(student))
    run.train()
    # what stage 2 started from has changed since
    save({**student, 'neck.weight': torch.zeros(2)})
    run = runner(save(student), resume=True, **{'train_cfg.max_iters': 3})
    run.train()
    assert run.iter == 3


def test_nothing_to_resume(runner, save, student):
    # `--resume` of a first run, as in a job that may be restarted
    less = {key: value for key, value in student.items()
            if key != 'conv1.weight'}
    refused(runner(save(less), resume=True), '1 keys are missing in the file')


def test_load_from(runner, save, student, tmp_path):
    # a whole model that replaces the backbone's weights on purpose
    run = runner(save(student))
    run.train()
    run = runner(save(student), load_from=str(tmp_path / 'iter_2.pth'))
    run.train()
    assert run.iter == 2


def test_from_scratch(load_config):
    cfg = load_config('configs/demo/resnet18_scratch_digits.py')
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    run = Runner.from_cfg(cfg)
    run.train()
    assert run.iter == 2


def test_testing_needs_no_stage_1(load_config, tmp_path):
    cfg = load_config(CONFIG, **{
        'model.backbone.init_cfg.checkpoint': str(tmp_path / 'gone.pth')})
    run = Runner.from_cfg(cfg)
    assert 0 <= run.test()['accuracy/top1'] <= 100
