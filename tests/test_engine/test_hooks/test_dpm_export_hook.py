import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

MOMENTUM = 0.3


class Recorder(Hook):
    """The denoiser's weights after each iteration."""

    def __init__(self):
        self.weights = []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.weights.append({
            key: value.clone() for key, value
            in runner.model.denoiser.state_dict().items()})


@pytest.fixture
def run(load_config, tiny):

    def train(ema, **cfg):
        hooks = [dict(type='repfusion_mm.DPMExportHook', **cfg)]
        if ema:
            hooks.insert(0, dict(type='EMAHook', momentum=MOMENTUM))
        config = load_config('configs/demo/dpm_unet_digits.py', 3, **{
            'model.denoiser': dict(tiny, _delete_=True),
            'custom_hooks': hooks, 'param_scheduler': None})
        runner, recorder = Runner.from_cfg(config), Recorder()
        runner.register_hook(recorder)
        runner.train()
        return recorder.weights

    return train


@pytest.mark.parametrize('ema', [True, False])
def test_weights(run, build, tmp_path, ema):
    from diffusers import DDPMPipeline
    weights = run(ema, num_samples=0)
    pipeline = DDPMPipeline.from_pretrained(str(tmp_path / 'dpm'))
    wanted = dict(weights[0])
    for after in weights[1:]:
        for key in after:
            wanted[key] = (1 - MOMENTUM) * wanted[key] + MOMENTUM * after[key]
    if not ema:
        wanted = weights[-1]
    for key, value in pipeline.unet.state_dict().items():
        torch.testing.assert_close(value, wanted[key])
    assert ema == any(not torch.equal(wanted[key], weights[-1][key])
                      for key in wanted)

    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         pretrained=str(tmp_path / 'dpm')))
    teacher.init_weights()
    for key, value in teacher.denoiser.state_dict().items():
        torch.testing.assert_close(value, wanted[key])
    assert not list(tmp_path.rglob('dpm_samples*'))


def test_half(run, tmp_path):
    from safetensors.torch import load_file
    weights = run(False, num_samples=0, half=True)[-1]
    file, = tmp_path.glob('dpm/unet/*.safetensors')
    for key, value in load_file(file).items():
        assert torch.equal(value, weights[key].half())


def test_samples(run, tmp_path):
    import cv2
    run(True, num_samples=4, sampling_steps=2)
    picture, = tmp_path.rglob('dpm_samples*.png')
    # 2 by 2 images of 64 pixels with borders of 2
    assert cv2.imread(str(picture)).shape == (134, 134, 3)


def test_steps_that_could_not_be_taken(run):
    """It is said before the training, and not behind it."""
    with pytest.raises(ValueError, match='`sampling_steps` of DPMExportHook '
                       'is 1001, expected at most 1000'):
        run(False, sampling_steps=1001)
    run(False, num_samples=0, sampling_steps=1001)  # none is drawn
