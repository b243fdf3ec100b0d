"""The code of the report runs."""
import pytest
import torch

from repfusion_mm.command.configs import student_config
from repfusion_mm.command.next_steps import next_steps
from tests.test_command.test_students import plan_of


@pytest.mark.parametrize('student, size', [
    ('resnet18', 32), ('resnet18', 64), ('resnet50', 64)])
def test_in_torchvision(build, tmp_path, student, size, capsys):
    """The same features as in mmpretrain, and nothing but fc is missing."""
    from mmengine.registry import init_default_scope
    init_default_scope('mmpretrain')
    plan = plan_of(student, size)
    plan.out = str(tmp_path)
    backbone = build(student_config(plan)[0])
    backbone.eval()
    with torch.no_grad():
        for buffer in backbone.buffers():  # statistics as of a training
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    torch.save(dict(state_dict={f'backbone.{name}': value for name, value in
                                backbone.state_dict().items()}),
               plan.path('backbone.pth'))
    code, = (code for text, code in next_steps(plan) if 'torchvision' in text)
    names = {}
    exec(code.replace('num_classes = 10', 'num_classes = 7'), names)
    assert "missing_keys=['fc.weight', 'fc.bias'], unexpected_keys=[]" in \
        capsys.readouterr().out
    model = names['model'].eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        features = backbone(images)[-1].mean((2, 3))
        torch.testing.assert_close(model(images), model.fc(features),
                                   rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('student', ['mobilenet_v2', 'vit_small'])
def test_in_mmpretrain(build, tmp_path, student):
    """The config arrives at the weights."""
    from mmengine.registry import init_default_scope
    init_default_scope('mmpretrain')
    plan = plan_of(student, 32)
    plan.out = str(tmp_path)
    backbone = build(student_config(plan)[0])
    weights = {f'backbone.{name}': value + 1 for name, value in
               backbone.state_dict().items()}
    torch.save(dict(state_dict=weights), plan.path('backbone.pth'))
    code = next_steps(plan)[0][1]
    names = {}
    exec(code, names)
    started = build(names['model']['backbone'])
    started.init_weights()
    for name, value in started.state_dict().items():
        assert torch.equal(value, weights[f'backbone.{name}']), name
