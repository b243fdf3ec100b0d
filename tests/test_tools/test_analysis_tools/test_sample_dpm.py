import json

import cv2
import pytest
import torch
from mmengine.config import Config

from repfusion_mm.registry import MODELS


def test_folder(tool, tmp_path, pipeline_folder, capsys):
    out = tmp_path / 'new' / 'samples'
    sample = tool('analysis_tools/sample_dpm')
    rows = sample.main([pipeline_folder, '--samples', '4', '--strip', '2',
                        '--frames', '3', '--steps', '4', '--out', str(out)])
    assert [row['t'] for row in rows] == [750, 250, 0] or \
        [row['t'] for row in rows] == [750, 500, 0]
    assert rows[-1]['to_final'] == 0 < rows[0]['to_final']
    assert json.loads(out.with_suffix('.json').read_text())['strip'] == rows
    grid = cv2.imread(str(out.with_suffix('.png')))
    assert grid.shape == (2 * 66 + 2, 2 * 66 + 2, 3)  # 64 pixels an image
    assert (tmp_path / 'new' / 'samples_strip.png').is_file()
    sample.print_table(rows)
    assert '750' in capsys.readouterr().out


def test_training(tool, root, monkeypatch, tmp_path):
    """The samples are those of the weights in the checkpoint."""
    monkeypatch.chdir(root)
    path = 'configs/demo/dpm_unet_digits.py'
    model = MODELS.build(Config.fromfile(path).model)
    checkpoint, folder = tmp_path / 'iter_1.pth', tmp_path / 'dpm'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    model.export(str(folder))
    options = ['--samples', '1', '--strip', '1', '--steps', '2', '--out']
    main = tool('analysis_tools/sample_dpm').main
    main([path, '--checkpoint', str(checkpoint), *options,
          str(tmp_path / 'one')])
    main([str(folder), *options, str(tmp_path / 'other')])
    one, other = (cv2.imread(str(tmp_path / f'{name}.png'))
                  for name in ('one', 'other'))
    assert (one == other).all() and one.std() > 1


def test_errors(tool, root, monkeypatch, tmp_path, pipeline_folder, tiny,
                capsys):
    monkeypatch.chdir(root)
    main = tool('analysis_tools/sample_dpm').main
    with pytest.raises(SystemExit):
        main(['configs/demo/dpm_unet_digits.py'])
    assert 'takes the --checkpoint' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='--steps 1001.*1000 time steps'):
        main([pipeline_folder, '--steps', '1001'])
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    DDPMPipeline(UNet2DModel(**tiny, num_class_embeds=3),
                 DDPMScheduler()).save_pretrained(tmp_path / 'classes')
    with pytest.raises(SystemExit, match='class-conditional'):
        main([str(tmp_path / 'classes')])
