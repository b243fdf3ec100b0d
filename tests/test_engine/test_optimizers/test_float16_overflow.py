"""A gradient that overflows in float16 costs a step, and no weights."""
import pytest
import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper


@pytest.fixture
def scaled(monkeypatch):
    """MMEngine's wrapper with a loss scale, also on a CPU."""

    def build(device, parameters):
        if device == 'cpu':  # it asks for a GPU, and its scaler is off
            if not hasattr(torch.amp, 'GradScaler'):
                pytest.skip('this torch has no loss scale on a CPU')
            monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available',
                                lambda: True)
            monkeypatch.setattr(
                amp_optimizer_wrapper, 'GradScaler',
                lambda **options: torch.amp.GradScaler('cpu', **options))
        return AmpOptimWrapper(
            loss_scale='dynamic',
            optimizer=torch.optim.SGD(parameters, lr=0.1, momentum=0.9))

    return build


@pytest.mark.parametrize('device', [
    'cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def test_step_is_skipped(scaled, device):
    weight = torch.nn.Parameter(torch.ones(2, device=device))
    wrapper = scaled(device, [weight])
    scale = wrapper.loss_scaler.get_scale()
    for factor, moved in ((1., True), (1e35, False), (1., True)):
        before = weight.detach().clone()
        loss = (weight * factor).sum()
        assert loss.isfinite()  # it is the gradient, times the scale
        wrapper.update_params(loss)
        assert weight.isfinite().all()
        assert bool((weight != before).all()) == moved
        for state in wrapper.optimizer.state.values():
            assert state['momentum_buffer'].isfinite().all()
    assert wrapper.loss_scaler.get_scale() == scale / 2
