import io

import pytest
from rich.console import Console

from repfusion_mm.command.plan_table import in_words, print_plan


@pytest.mark.parametrize('seconds, words', [
    (0.4, '0 seconds'), (89, '89 seconds'), (90, '2 minutes'),
    (300, '5 minutes'), (5400, '1.5 hours'), (200_000, '2.3 days')])
def test_in_words(seconds, words):
    assert in_words(seconds) == words


def printed(plan, done):
    console = Console(file=io.StringIO(), width=120)
    print_plan(console, plan, done)
    return console.file.getvalue()


def test_says_what_is_to_come(make_plan, labels):
    plan = make_plan(teacher=None, labels=labels, epochs=200)
    plan.seconds['choice'] = 0.
    total = 0.5 * sum(plan.steps.values())
    text = printed(plan, {})
    assert f'About {in_words(total)} to go, {plan.megabytes:,} MB' in text
    assert '66 to distil' in text and '6 held out, 3 classes' in text
    assert 'is little' not in text and 'done' not in text.replace(
        'is done', '').replace('be done', '')
    less = total - 0.5 * plan.steps['dpm']
    text = printed(plan, dict(dpm={}))
    assert f'About {in_words(less)} to go' in text and '│ done ' in text


def test_warns_of_few_epochs(make_plan):
    assert '--epochs 1 is little' in printed(make_plan(), {})
