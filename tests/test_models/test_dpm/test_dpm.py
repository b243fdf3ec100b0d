import pytest
import torch
import torch.nn.functional as F


@pytest.fixture
def dpm(build, tiny):

    def make(**cfg):
        torch.manual_seed(0)
        return build(dict(type='repfusion_mm.DPM', denoiser=tiny, **cfg))

    return make


@pytest.mark.parametrize('schedule, steps', [
    ('linear', 1000), ('squaredcos_cap_v2', 50)])
def test_loss(dpm, schedule, steps):
    module = dpm(num_timesteps=steps, beta_schedule=schedule)
    inputs = torch.rand(6, 3, 16, 16) * 255
    torch.manual_seed(4)
    loss = module(inputs, mode='loss')['loss_noise']

    if schedule == 'linear':
        betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64)
    else:
        level = torch.arange(steps + 1, dtype=torch.float64) / steps
        level = torch.cos((level + 0.008) / 1.008 * torch.pi / 2)**2
        betas = (1 - level[1:] / level[:-1]).clamp(max=0.999)
    torch.manual_seed(4)
    noise = torch.randn(6, 3, 16, 16)
    t = torch.randint(steps, (6, ))
    kept = torch.cumprod(1 - betas, 0)[t].view(6, 1, 1, 1)
    clean = inputs / 127.5 - 1
    noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    predicted = module.denoiser(noisy.float(), t).sample
    torch.testing.assert_close(loss, F.mse_loss(predicted, noise),
                               rtol=1e-4, atol=1e-5)


def test_loss_falls(dpm):
    # a single image: the noise can be told
    module = dpm()
    image = (torch.rand(1, 3, 16, 16) * 255).expand(16, -1, -1, -1)
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    losses = []
    for _ in range(60):
        loss = module(image, mode='loss')['loss_noise']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # predicting nothing costs 1
    assert losses[0] > 0.8
    assert sum(losses[-10:]) / 10 < 0.3


def test_sees_raw_images(dpm, tiny):
    # normalised and in BGR, or as they are: the denoiser is given the same
    pixels = list(torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8))
    plain = dpm()
    normal = dpm(channel_order='bgr', data_preprocessor=dict(
        mean=[1., 2., 3.], std=[10., 20., 30.], rgb_to_bgr=True))
    losses = []
    for module in (plain, normal):
        inputs = module.data_preprocessor(dict(inputs=pixels))['inputs']
        torch.manual_seed(1)
        losses.append(module(inputs, mode='loss')['loss_noise'])
    torch.testing.assert_close(*losses)
    wrong = dpm()
    torch.manual_seed(1)
    flipped = [image.flip(0) for image in pixels]
    inputs = wrong.data_preprocessor(dict(inputs=flipped))['inputs']
    loss = wrong(inputs, mode='loss')['loss_noise']
    assert not torch.allclose(loss, losses[0])


def test_resized_and_grey(build, tiny):
    module = build(dict(type='repfusion_mm.DPM', denoiser=dict(
        tiny, in_channels=1, out_channels=1)))
    seen = []
    module.denoiser.register_forward_pre_hook(
        lambda m, args: seen.append(args[0]))
    assert module(torch.zeros(2, 3, 40, 24), mode='loss')['loss_noise'] > 0
    assert seen[0].shape == (2, 1, 16, 16)


def test_same_input_as_the_teacher(build, dpm, tmp_path, images):
    module = dpm()
    module.export(str(tmp_path))
    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         pretrained=str(tmp_path), taps=['mid_block']))
    teacher.init_weights()
    t = torch.tensor([1, 2, 3, 4])
    wanted = []
    module.denoiser.mid_block.register_forward_hook(
        lambda m, args, output: wanted.append(output))
    with torch.no_grad():
        module.denoiser.eval()(images / 127.5 - 1, t)
    torch.testing.assert_close(teacher(images, t)['mid_block'], wanted[0])


def test_export(dpm, tmp_path):
    from diffusers import DDPMPipeline
    module = dpm(num_timesteps=77, beta_schedule='squaredcos_cap_v2')
    module.export(str(tmp_path / 'new' / 'folder'))
    pipeline = DDPMPipeline.from_pretrained(str(tmp_path / 'new' / 'folder'))
    assert pipeline.scheduler.config.num_train_timesteps == 77
    assert pipeline.scheduler.config.beta_schedule == 'squaredcos_cap_v2'
    for key, value in pipeline.unet.state_dict().items():
        assert torch.equal(value, module.denoiser.state_dict()[key])
    image = pipeline(num_inference_steps=2, output_type='np').images
    assert image.shape == (1, 16, 16, 3)


def test_export_half(dpm, build, tmp_path):
    from safetensors.torch import load_file
    module = dpm()
    before = {key: value.clone() for key, value
              in module.denoiser.state_dict().items()}
    module.export(str(tmp_path), half=True)
    file, = (tmp_path / 'unet').glob('*.safetensors')
    assert {value.dtype for value in load_file(file).values()} == \
        {torch.float16}
    for key, value in module.denoiser.state_dict().items():
        assert torch.equal(value, before[key])  # itself it stays whole
    teacher = build(dict(type='repfusion_mm.UNetTeacher',
                         pretrained=str(tmp_path), taps=['out.0']))
    teacher.init_weights()
    for key, value in teacher.denoiser.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[key].half().float())


@pytest.mark.parametrize('cfg, match', [
    (dict(channel_order='gbr'), '`channel_order`'),
    (dict(beta_schedule='linaer'), "`beta_schedule` is 'linaer'.*'linear'")])
def test_wrong_arguments(dpm, cfg, match):
    with pytest.raises(ValueError, match=match):
        dpm(**cfg)


def test_wrong_size(build, tiny):
    with pytest.raises(ValueError, match='`denoiser.sample_size` is 15'):
        build(dict(type='repfusion_mm.DPM',
                   denoiser=dict(tiny, sample_size=15)))


@pytest.mark.parametrize('config, match', [
    (dict(time_embedding_type='fourier'), "time_embedding_type='fourier'"),
    (dict(time_embedding_type='learned', num_train_timesteps=99),
     'learned 99 time steps.*has 100$')])
def test_time_of_another_kind(build, tiny, config, match):
    with pytest.raises(ValueError, match=f'`denoiser`: .*{match}'):
        build(dict(type='repfusion_mm.DPM', num_timesteps=100,
                   denoiser=dict(tiny, **config)))


def test_only_trains(dpm, images):
    with pytest.raises(ValueError, match="'predict'.*sample with diffusers"):
        dpm()(images, mode='predict')


def test_noise_of_other_channels(build, tiny):
    with pytest.raises(ValueError, match='out_channels` is 3.* 1'):
        build(dict(type='repfusion_mm.DPM',
                   denoiser=dict(tiny, in_channels=1)))


def test_unknown_denoiser_argument(build, tiny):
    with pytest.raises(ValueError, match='`denoiser`.*bloc_out'):
        build(dict(type='repfusion_mm.DPM',
                   denoiser=dict(tiny, bloc_out=1)))


@pytest.mark.parametrize('condition', [
    dict(num_class_embeds=10), dict(class_embed_type='timestep')])
def test_class_conditional(build, tiny, condition):
    with pytest.raises(ValueError, match='`denoiser`.*class-conditional'):
        build(dict(type='repfusion_mm.DPM', denoiser=dict(tiny, **condition)))


def test_not_finite(build, tiny):
    module = build(dict(type='repfusion_mm.DPM', denoiser=tiny))
    module.denoiser.conv_out.bias.data.fill_(float('nan'))
    with pytest.raises(FloatingPointError, match='loss_noise; stopped before'):
        module(torch.rand(2, 3, 16, 16) * 255)


def test_what_the_pipeline_gives(dpm):
    # pixels, or normalised before the preprocessor and said so
    pixels = torch.randint(0, 256, (2, 3, 16, 16)).float()
    inputs = (pixels / 255 - 0.4) / 0.2
    losses = []
    for given, raw_image in (
            (pixels, None), (inputs, dict(range=(0, 1), mean=[0.4],
                                          std=[0.2]))):
        module = dpm(raw_image=raw_image)
        torch.manual_seed(1)
        losses.append(module(given, mode='loss')['loss_noise'])
    torch.testing.assert_close(*losses)
    with pytest.raises(ValueError, match='little but black.*`raw_image='):
        dpm()(inputs, mode='loss')


def test_no_number_of_steps(dpm):
    for number in (0, '1000', 2.5):
        with pytest.raises(ValueError, match='`num_timesteps` is'):
            dpm(num_timesteps=number)
