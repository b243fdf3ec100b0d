"""What to do with the backbone, in commands that run."""
import shlex
from typing import List, Tuple

from .configs import student_config
from .plan import Plan

TORCHVISION = '''import torch, torchvision
num_classes = 10  # yours
weights = torch.load({file!r}, weights_only=True)['state_dict']
weights = {{name.replace('backbone.', ''): value
           for name, value in weights.items()}}
model = torchvision.models.{name}(num_classes=num_classes)
{stem}# of all weights fc's alone are missing
print(model.load_state_dict(weights, strict=False))
# its images: RGB, (pixel - 127.5) / 127.5, {size}x{size}
# timm: timm.create_model('{name}', num_classes=num_classes), likewise'''
# that of images of up to 32 pixels
STEM = '''model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
model.maxpool = torch.nn.Identity()
'''


def next_steps(plan: Plan) -> List[Tuple[str, str]]:
    """How a classifier of one's own starts from the backbone.

    Args:
        plan (Plan): What was done.

    Returns:
        list[tuple[str, str]]: What it is for, and the code.
    """
    file = plan.path('backbone.pth')
    config = shlex.quote(plan.path('config.py'))
    backbone, width = student_config(plan)
    if '.' not in backbone['type']:
        backbone['type'] = f'mmpretrain.{backbone["type"]}'
    lines = ''.join(f'        {key}={value!r},\n'
                    for key, value in backbone.items())
    steps = [(
        'In a config of mmpretrain or, for the last feature map, of mmseg, '
        'mmdet and mmpose (images: RGB, mean 127.5, std 127.5); its neck and '
        'the type of its head stay:',
        'model = dict(\n    backbone=dict(\n' + lines +
        '        init_cfg=dict(\n            type=\'Pretrained\',\n'
        f'            checkpoint={file!r},\n'
        f'            prefix=\'backbone.\')),\n'
        f'    head=dict(in_channels={width}))')]
    if plan.student.startswith('resnet'):
        small = backbone['type'].endswith('CIFAR')
        steps.append((
            'In torchvision and timm:', TORCHVISION.format(
                file=file, name=plan.student, size=plan.size,
                stem=STEM if small else '')))
    steps.append((
        'Stage 1 once more, with other settings, on a GPU or on several:',
        f'python tools/train.py {config}\n'
        f'bash tools/dist_train.sh {config} 8'))
    return steps
