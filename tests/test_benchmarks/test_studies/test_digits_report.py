import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

RESULTS = [
    dict(init='scratch', labels_per_class=2, seeds=[7, 8, 9],
         accuracy=[70., 74., 69.]),
    dict(init='fixed_t300', labels_per_class=2, seeds=[7, 8, 9],
         accuracy=[79., 80., 77.]),
    dict(init='reinforced', labels_per_class=2, seeds=[7, 8, 9],
         accuracy=[80., 79., 78.]),
    dict(init='scratch', labels_per_class='all', seeds=[7, 8, 9],
         accuracy=[99., 98., 99.]),
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
    results = [dict(init=init, labels_per_class=2, seeds=[3, 4],
                    accuracy=accuracy)
               for init, accuracy in (
                   ('fixed_t0', [70., 71.]), ('fixed_t100', [80., 84.]),
                   ('bank_t100', [81., 83.]))]
    row, = module.differences(results)
    assert (row['of'], row['over']) == ('bank_t100', 'fixed_t100')
    assert row['mean'] == 0. and row['interval'][0] < 0 < row['interval'][1]
    assert module.arm_name('bank_t100') == 'distilled, t = 100, bank'


def test_one_seed_has_no_interval(module):
    results = [dict(row, seeds=[7], accuracy=row['accuracy'][:1])
               for row in RESULTS]
    row = module.differences(results)[0]
    assert row['interval'] is None and row['lower_bound'] is None
    assert module.decisions(results) == []


def test_only_common_seeds_are_paired(module):
    short = dict(init='constant', labels_per_class=2, seeds=[9, 7],
                 accuracy=[70., 75.])
    row, = module.differences([RESULTS[2], short])
    assert row['seeds'] == 2 and row['mean'] == (5. + 8.) / 2


def test_decisions(module):
    results = [dict(init='reinforced', labels_per_class=2,
                    seeds=[1, 2, 3, 4], accuracy=[80., 82., 79., 81.])]
    results += [dict(init=init, labels_per_class=2, seeds=[1, 2, 3, 4],
                     accuracy=[80. - gain for gain in gains])
                for init, gains in (
                    ('fixed', [0., -2., 1., -1.]),
                    ('scratch', [6., 5., 9., 7.]),
                    ('uniform', [3., -8., 9., 1.]))]
    # with other labels nothing is decided
    results += [dict(row, labels_per_class=5) for row in results]
    rows = {row['over']: row for row in module.decisions(results)}
    assert {over: (row['above'], row['met']) for over, row in rows.items()
            } == dict(fixed=(-1.5, True), scratch=(0., True),
                      uniform=(0., False))
    for over, row in rows.items():
        other, = (one['accuracy'] for one in results[:4]
                  if one['init'] == over)
        gain = np.subtract(results[0]['accuracy'], other)
        # Student's t with 3 degrees of freedom, from a table
        bound = gain.mean() - 2.3534 * gain.std(ddof=1) / 2
        assert row['lower_bound'] == pytest.approx(bound, abs=0.01)
        assert row['seeds'] == 4


def test_probe_peak(module):
    peak = module.probe_peak(PROBE)
    assert peak['t'] == 300 and peak['accuracy'] == 82.
    assert peak['lead_over_first'] == 11. and peak['lead_over_last'] == 17.
    assert peak['lead_over_last_std_error'] == pytest.approx(3.)


def test_report(module, pipeline_folder, tmp_path):
    drawn = [[dict(iter=50, mean_t=mean, histogram=[0.05] * 20)]
             for mean in (200., 300., 250.)]
    study = SimpleNamespace(
        teacher=str(pipeline_folder), seconds=dict(distill=1.23),
        args=SimpleNamespace(out=str(tmp_path), split='test'))
    results = [*RESULTS[:2], dict(RESULTS[2], looked=[225] * 3, drawn=drawn),
               dict(init='fixed', labels_per_class=2, seeds=[7, 8],
                    accuracy=[80., 81.]),
               # an arm that is not there with every number of labels
               dict(RESULTS[3], labels_per_class=5)]
    fixed = {'2': dict(t=225, trained={225: 80., 275: 79.}, probed={})}
    report = module.write_report(study, results, fixed, PROBE)
    saved = json.loads((tmp_path / 'report.json').read_text())
    kept = dict(results[2])
    del kept['drawn']  # of which there is the mean
    assert saved['results'] == [*results[:2], kept, *results[3:]]
    assert saved['policy'] == dict(mean_t=250., histogram=[0.05] * 20)
    assert saved['probe'][1] == dict(t=300, accuracy=82., std_error=1.)
    assert saved['seconds'] == dict(distill=1.2)
    assert saved['best_fixed']['2']['t'] == 225
    page = (tmp_path / 'report.html').read_text()
    assert page.count('data:image/png;base64,') == 4
    assert not re.search(r'(src|href)="?http', page)  # self-contained
    assert 'distilled, t = 300' in page
    assert (tmp_path / 'report.png').stat().st_size > 0

    from rich.console import Console
    console = Console(width=200, record=True, quiet=True)
    console.quiet = False
    module.print_table(report, console)
    said = console.export_text()
    assert 'Best fixed t with 2 labels a class: 225 (t = 225: 80.0' in said
    assert 'reinforced minus from scratch: above' in said
    assert 'wanted -1.5: missed' in said
