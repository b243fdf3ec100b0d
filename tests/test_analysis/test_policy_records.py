import json


def test_read_policy(tmp_path):
    from repfusion_mm.analysis.policy_records import read_policy
    assert read_policy(tmp_path) == (None, [])
    steps = [dict(iter=50, mean_t=400.), dict(iter=100, mean_t=210.)]
    (tmp_path / 'time_steps.jsonl').write_text(
        ''.join(json.dumps(step) + '\n' for step in steps))
    assert read_policy(tmp_path) == (None, steps)
    (tmp_path / 'look.json').write_text('{"chosen_t": 175}')
    assert read_policy(tmp_path) == (dict(chosen_t=175), steps)
