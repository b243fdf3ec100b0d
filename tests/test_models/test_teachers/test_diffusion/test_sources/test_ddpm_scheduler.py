import json
import shutil

import pytest
import torch

from repfusion_mm.models.teachers.diffusion.sources.unet2d import (
    DiffusersFolder,
)

# of diffusers, whose denoisers take the number of a DDPM's time step
OF_DDPM = [
    'DDPMScheduler', 'DDPMParallelScheduler', 'DDIMScheduler',
    'DDIMParallelScheduler', 'DDIMInverseScheduler', 'PNDMScheduler',
    'DPMSolverMultistepScheduler', 'DPMSolverMultistepInverseScheduler',
    'DPMSolverSinglestepScheduler', 'DPMSolverSDEScheduler',
    'DEISMultistepScheduler', 'UniPCMultistepScheduler', 'SASolverScheduler',
    'EulerDiscreteScheduler', 'EulerAncestralDiscreteScheduler',
    'HeunDiscreteScheduler', 'KDPM2DiscreteScheduler',
    'KDPM2AncestralDiscreteScheduler', 'LMSDiscreteScheduler',
    'LCMScheduler', 'TCDScheduler', 'RePaintScheduler']
OF_OTHERS = [
    'ScoreSdeVeScheduler', 'ScoreSdeVpScheduler', 'KarrasVeScheduler',
    'EDMEulerScheduler', 'EDMDPMSolverMultistepScheduler',
    'CMStochasticIterativeScheduler', 'FlowMatchEulerDiscreteScheduler',
    'FlowMatchHeunDiscreteScheduler', 'CosineDPMSolverMultistepScheduler',
    'DDPMWuerstchenScheduler', 'IPNDMScheduler', 'UnCLIPScheduler',
    'VQDiffusionScheduler', 'SCMScheduler', 'CogVideoXDDIMScheduler',
    'SomebodysScheduler']


@pytest.fixture
def pipeline(pipeline_folder, tmp_path):
    """A pipeline whose scheduler's config says what it is told."""

    def write(scheduler, pipeline=None):
        folder = tmp_path / 'pipeline'
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(pipeline_folder, folder)
        path = folder / 'scheduler' / 'scheduler_config.json'
        path.write_text(json.dumps(scheduler))
        index = json.loads((folder / 'model_index.json').read_text())
        index['scheduler'] = ['diffusers', scheduler.get('_class_name')]
        index['_class_name'] = pipeline or index['_class_name']
        (folder / 'model_index.json').write_text(json.dumps(index))
        return folder

    return write


@pytest.fixture
def teacher(build):
    return lambda folder, **cfg: build(dict(
        type='repfusion_mm.UNetTeacher', pretrained=str(folder), **cfg))


@pytest.mark.parametrize('kind', OF_DDPM)
def test_any_sampler_of_a_ddpm(pipeline, kind):
    """Its betas are its own, also those that its config does not name."""
    import diffusers
    for settings in ({}, dict(num_train_timesteps=200, beta_start=0.001,
                              beta_schedule='scaled_linear', beta_end=0.03)):
        try:
            theirs = getattr(diffusers, kind)(**settings)
        except ImportError as error:  # some want a package beside diffusers
            pytest.skip(str(error).strip()[:60])
        folder = str(pipeline(dict(_class_name=kind, **settings)))
        scheduler = DiffusersFolder(folder, None).scheduler
        assert scheduler.config.num_train_timesteps == \
            theirs.config.num_train_timesteps
        torch.testing.assert_close(scheduler.alphas_cumprod,
                                   torch.cumprod(1 - theirs.betas, 0))


def test_trained_betas(pipeline, teacher):
    module = teacher(pipeline(dict(_class_name='DDIMScheduler',
                                   trained_betas=[0.1, 0.2, 0.5],
                                   num_train_timesteps=3)))
    assert module.num_timesteps == 3
    torch.testing.assert_close(module.source.scheduler.alphas_cumprod,
                               torch.tensor([0.9, 0.72, 0.36]))


@pytest.mark.parametrize('kind', OF_OTHERS)
def test_other_times_are_refused(pipeline, teacher, kind):
    folder = pipeline(dict(_class_name=kind, num_train_timesteps=1000,
                           beta_start=0.0001))
    message = f'`teacher.pretrained`.*{kind} in .*sigma.*DDPM'
    for where in (folder, folder / 'unet'):
        with pytest.raises(ValueError, match=message):
            teacher(where)
    # also where the pipeline's index alone names it
    shutil.rmtree(folder / 'scheduler')
    with pytest.raises(ValueError, match=f'{kind}: .*sigma'):
        teacher(folder)


@pytest.mark.parametrize('kind', [
    'ScoreSdeVePipeline', 'KarrasVePipeline', 'ConsistencyModelPipeline'])
def test_pipelines_of_sigma(pipeline, teacher, kind):
    """Whatever scheduler was put there."""
    with pytest.raises(ValueError, match=f'{kind}: .*sigma'):
        teacher(pipeline(dict(_class_name='DDPMScheduler'), kind))


@pytest.mark.parametrize('kind', [
    'DDIMPipeline', 'PNDMPipeline', 'RePaintPipeline', 'MyPipeline'])
def test_pipelines_of_time_steps(pipeline, teacher, kind):
    assert teacher(pipeline(dict(_class_name='DDIMScheduler'), kind))


def test_beside_a_config(pipeline, teacher, tiny):
    """The folder may be absent until its weights are needed."""
    module = teacher(pipeline(dict(_class_name='EDMEulerScheduler')),
                     config=tiny)
    with pytest.raises(ValueError, match='EDMEulerScheduler.*sigma'):
        module.init_weights()


@pytest.mark.parametrize('config, match', [
    (dict(_class_name='EulerDiscreteScheduler', timestep_type='continuous'),
     "`timestep_type` 'continuous'"),
    (dict(_class_name='DPMSolverMultistepScheduler', use_flow_sigmas=True),
     '`use_flow_sigmas` True'),
    (dict(_class_name='UniPCMultistepScheduler',
          prediction_type='flow_prediction'),
     "`prediction_type` 'flow_prediction'.*epsilon.*v_prediction"),
    (dict(sigma_max=80., num_train_timesteps=40), 'without betas'),
    (dict(_class_name='DDPMScheduler', trained_betas=[0.1] * 7),
     '7 `trained_betas`, but `num_train_timesteps` is 1000'),
    (dict(_class_name='HeunDiscreteScheduler', beta_schedule='exp'),
     'HeunDiscreteScheduler.*cannot follow: exp'),
    (dict(_class_name='DDPMScheduler', beta_start='small'),
     'cannot follow')])
def test_refused_settings(pipeline, teacher, config, match):
    with pytest.raises(ValueError, match=f'`teacher.pretrained`.*{match}'):
        teacher(pipeline(config))


@pytest.mark.parametrize('prediction', ['epsilon', 'sample', 'v_prediction'])
def test_any_prediction(pipeline, teacher, prediction):
    assert teacher(pipeline(dict(_class_name='DDIMScheduler',
                                 prediction_type=prediction)))


def test_zero_signal_at_the_end(pipeline, teacher):
    scheduler = teacher(pipeline(dict(
        _class_name='DDIMScheduler',
        rescale_betas_zero_snr=True))).source.scheduler
    assert scheduler.alphas_cumprod[-1] < 1e-6


def test_config_without_a_class(pipeline, teacher):
    module = teacher(pipeline(dict(beta_schedule='linear',
                                   num_train_timesteps=300)))
    assert module.num_timesteps == 300


def test_damaged(pipeline, teacher):
    folder = pipeline(dict(_class_name='DDPMScheduler'))
    (folder / 'scheduler' / 'scheduler_config.json').write_text('{"_class')
    with pytest.raises(OSError, match='scheduler_config.json.*cannot be read'):
        teacher(folder)


def test_a_subfolder_has_its_pipelines_schedule(pipeline, teacher, images):
    """A noisy image is as noisy as the pipeline says."""
    folder = pipeline(dict(_class_name='DDPMScheduler',
                           num_train_timesteps=100,
                           beta_schedule='squaredcos_cap_v2'))
    t, features = torch.tensor([0, 30, 60, 99]), []
    for where in (folder, folder / 'unet', f'{folder}/unet/'):
        module = teacher(where, add_noise=True)
        assert module.num_timesteps == 100
        module.init_weights()
        torch.manual_seed(2)
        features.append(module(images, t)['mid_block'])
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])


def test_root_layout(pipeline, teacher):
    """As google/ddpm-cifar10-32 has it: all in one folder."""
    folder = pipeline(dict(_class_name='DDPMScheduler',
                           num_train_timesteps=100))
    for part in ('unet', 'scheduler'):
        for path in (folder / part).iterdir():
            path.rename(folder / path.name)
        (folder / part).rmdir()
    module = teacher(folder)
    assert module.num_timesteps == 100
    module.init_weights()
    shutil.rmtree(folder.parent / 'unet', ignore_errors=True)
    folder.rename(folder.parent / 'unet')  # a name that means nothing here
    assert teacher(folder.parent / 'unet').num_timesteps == 100


def test_time_embedding(build, tiny):
    def teacher(**config):
        return build(dict(type='repfusion_mm.UNetTeacher',
                          config=dict(tiny, **config)))

    with pytest.raises(ValueError, match='`teacher.config`.*'
                       "time_embedding_type='fourier'.*sigma"):
        teacher(time_embedding_type='fourier')
    learned = dict(time_embedding_type='learned')
    with pytest.raises(ValueError, match='`teacher.config`.*learned 999 time '
                       'steps.*has 1000'):
        teacher(num_train_timesteps=999, **learned)
    assert teacher(num_train_timesteps=1000, **learned)


def test_fourier_in_a_folder(pipeline, teacher):
    folder = pipeline(dict(_class_name='DDPMScheduler'))
    path = folder / 'unet' / 'config.json'
    config = json.loads(path.read_text())
    path.write_text(json.dumps(dict(config, time_embedding_type='fourier')))
    with pytest.raises(ValueError, match='`teacher.pretrained`.*fourier'):
        teacher(folder)
