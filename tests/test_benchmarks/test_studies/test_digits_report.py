import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

RESULTS = [
    dict(init='scratch', labels_per_class=2, accuracy=[70., 74., 69.]),
    dict(init='fixed_t300', labels_per_class=2, accuracy=[79., 80., 77.]),
    dict(init='reinforced', labels_per_class=2, accuracy=[80., 79., 78.]),
    dict(init='scratch', labels_per_class='all', accuracy=[99., 98., 99.]),
]
PROBE = [dict(t=t, accuracy=float(np.mean(seeds)), std_error=1.,
              per_seed=seeds)
         for t, seeds in ((0, [70., 72.]), (300, [80., 84.]), (999, [60., 70.])
                          )]


@pytest.fixture
def module():
    from benchmarks.studies import digits_report
    return digits_report


def test_differences(module):
    rows = module.differences(RESULTS)
    assert [row['over'] for row in rows] == ['scratch', 'fixed_t300']
    gain = np.array([10., 5., 9.])
    wanted = stats.ttest_1samp(gain, 0).confidence_interval(0.95)
    assert rows[0]['mean'] == 8.
    assert rows[0]['interval'] == pytest.approx(list(wanted), abs=0.01)


def test_bank_is_compared_with_its_t(module):
    results = [dict(init=init, labels_per_class=2, accuracy=accuracy)
               for init, accuracy in (
                   ('fixed_t0', [70., 71.]), ('fixed_t100', [80., 84.]),
                   ('bank_t100', [81., 83.]))]
    row, = module.differences(results)
    assert (row['of'], row['over']) == ('bank_t100', 'fixed_t100')
    assert row['mean'] == 0. and row['interval'][0] < 0 < row['interval'][1]
    assert module.arm_name('bank_t100') == 'distilled, t = 100, bank'


def test_one_seed_has_no_interval(module):
    results = [dict(row, accuracy=row['accuracy'][:1]) for row in RESULTS]
    assert module.differences(results)[0]['interval'] is None


def test_probe_peak(module):
    peak = module.probe_peak(PROBE)
    assert peak['t'] == 300 and peak['accuracy'] == 82.
    assert peak['lead_over_first'] == 11. and peak['lead_over_last'] == 17.
    assert peak['lead_over_last_std_error'] == pytest.approx(3.)


def test_report(module, pipeline_folder, tmp_path):
    jobs = tmp_path / 'jobs'
    for seed, mean in ((0, 200.), (1, 300.)):
        folder = jobs / f'distill_reinforced_2labels_seed{seed}'
        folder.mkdir(parents=True)
        (folder / 'time_steps.jsonl').write_text(json.dumps(dict(
            iter=50, mean_t=mean, entropy_weight=0.1,
            histogram=[0.05] * 20)) + '\n')
    study = SimpleNamespace(
        jobs=jobs, teacher=str(pipeline_folder), seconds=dict(distill=1.23),
        args=SimpleNamespace(out=str(tmp_path), labels=['2'], split='test',
                             first_seed=0, seeds=2))
    results = RESULTS[:3]  # every arm with every number of labels
    module.write_report(study, results, PROBE)
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['results'] == results
    assert report['policy'] == dict(mean_t=250., histogram=[0.05] * 20)
    assert report['probe'][1] == dict(t=300, accuracy=82., std_error=1.)
    assert report['seconds'] == dict(distill=1.2)
    page = (tmp_path / 'report.html').read_text()
    assert page.count('data:image/png;base64,') == 4
    assert not re.search(r'(src|href)="?http', page)  # self-contained
    assert 'distilled, t = 300' in page
    assert (tmp_path / 'report.png').stat().st_size > 0
