import json

from repfusion_mm.command.figures import (
    newest_picture,
    read_losses,
    read_quality,
)


def test_losses_of_a_training_that_was_resumed(tmp_path):
    """Steps that were taken twice count once, as they were last."""
    for run, steps in (('20261130_01', (2, 4, 6)), ('20261130_02', (6, 8))):
        folder = tmp_path / run / 'vis_data'
        folder.mkdir(parents=True)
        rows = [json.dumps(dict(loss=step / 10 + (run[-1] == '2'), step=step))
                for step in steps]
        rows.append(json.dumps({'quality/rank': 3., 'step': 8}))
        # killed within a line
        (folder / 'scalars.json').write_text('\n'.join(rows) + '\n{"loss": 0')
    assert read_losses(str(tmp_path)) == [(2, 0.2), (4, 0.4), (6, 1.6),
                                          (8, 1.8)]


def test_nothing_was_logged(tmp_path):
    assert read_losses(str(tmp_path)) == [] == read_quality(str(tmp_path))
    assert newest_picture(str(tmp_path), 'dpm_samples') == ''
