"""What unpickles, evaluates or unpacks is nowhere but where it is safe."""
import ast

import pytest

CODE = ('repfusion_mm', 'tools', 'benchmarks', 'configs')
# by the end of their names: whatever they are imported as
FORBIDDEN = ('torch.load', 'pickle.load', 'pickle.loads', 'joblib.load',
             'yaml.load', 'yaml.unsafe_load', 'hub.load',
             'load_state_dict_from_url', 'extractall', 'unpack_archive',
             'jit.load', 'shelve.open', 'mmengine.load', 'from_pretrained')
BUILTINS = ('eval', 'exec', '__import__')
SAFE = {
    # by our list of names
    ('repfusion_mm/safe_loading/reading.py', 'torch.load'),
    # of tensors, no method of a model
    ('repfusion_mm/models/teachers/diffusion/conditions/class_condition.py',
     'nn.Embedding.from_pretrained'),
    # with filter='data', which refuses what leads out of the folder
    ('benchmarks/speed/gpu_setup.py', 'archive.extractall'),
}


def calls(root):
    for folder in CODE:
        for path in sorted((root / folder).rglob('*.py')):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield path.relative_to(root).as_posix(), node


def forbidden(node):
    name = ast.unparse(node.func)
    if name in BUILTINS or any(
            name == one or name.endswith(f'.{one}') for one in FORBIDDEN):
        return name
    for keyword in node.keywords:
        if keyword.arg in ('allow_pickle', 'trust_remote_code',
                           'custom_pipeline'):
            return f'{name}({keyword.arg}=)'
    return None


def test_nowhere(root):
    found = {(path, forbidden(node)) for path, node in calls(root)
             if forbidden(node)}
    assert found == SAFE


@pytest.mark.parametrize('code', [
    'torch.load(path)', 'pickle.loads(b)', 'a.torch.hub.load("x")',
    'eval(text)', 'np.load(path, allow_pickle=True)', 'tar.extractall("x")',
    'DDPMPipeline.from_pretrained(x)', 'x(trust_remote_code=True)'])
def test_is_found(code):
    node, = [node for node in ast.walk(ast.parse(code))
             if isinstance(node, ast.Call)]
    assert forbidden(node)


def test_unpacked_by_the_filter(root):
    node, = [node for path, node in calls(root)
             if path.endswith('gpu_setup.py') and
             ast.unparse(node.func) == 'archive.extractall']
    assert any(keyword.arg == 'filter' and keyword.value.value == 'data'
               for keyword in node.keywords)
