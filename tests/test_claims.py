"""A claim about runs: its verdict follows from the numbers of all seeds, and failed runs count."""

import numpy as np
import pytest

from tinygan.study import Comparison, larger, lowest, median_and_all, median_over_seeds, smaller
from tinygan.study.claims import HOLDS, REVERSED, UNDECIDED, Claim
from tinygan.study.run import Run


def runs(**groups):
    """Return {label: Runs} whose FIDs are given; None is a run that failed."""
    return {
        label: [
            Run(
                label,
                seed,
                f"{label}-{seed}",
                None,
                {
                    "diverged": False,
                    "metrics": {"fid": fid or 99.0, "recall": 0.5 if fid else 0.01},
                    "also": {"length": fid or 99.0},
                },
                None,
                least_recall=0.05,
            )
            for seed, fid in enumerate(fids)
        ]
        for label, fids in groups.items()
    }


@pytest.mark.parametrize(
    "a, b, verdict",
    [
        ([1, 2, 3], [4, 5, 6], HOLDS),
        ([4, 5, 6], [1, 2, 3], REVERSED),
        ([1, 2, 4.1], [4, 5, 6], UNDECIDED),  # one seed is not beyond all of the other side
        ([9.1, 9.2, 9.3], [9.4, 9.5, 9.6], UNDECIDED),  # medians within a tenth
        ([8.9, 9, 9.1], [9.9, 10, 10.1], HOLDS),  # a tenth of the larger median
        ([8.9, 9.01, 9.1], [9.9, 10, 10.1], UNDECIDED),
        ([-6, -5, -4], [-3, -2, -1], HOLDS),
        ([1], [2], HOLDS),
        ([0, 0, 0], [0, 0, 0], UNDECIDED),
        ([1, 2, 3], [4, 5, None], HOLDS),  # a failed run is worse than any number
        ([1, 2, None], [4, 5, 6], UNDECIDED),
        ([None, None, None], [4, 5, 6], REVERSED),
        ([None, None, None], [None, 5, 6], UNDECIDED),
        ([1, 2, 3], [None, None, None], HOLDS),
    ],
)
def test_the_verdict_on_a_smaller_fid(a, b, verdict):
    groups = runs(a=a, b=b)
    assert smaller(groups, "fid", "a", "b").verdict() == verdict
    assert larger(groups, "fid", "b", "a").verdict() == verdict
    opposite = {HOLDS: REVERSED, REVERSED: HOLDS, UNDECIDED: UNDECIDED}[verdict]
    assert larger(groups, "fid", "a", "b").verdict() == opposite


def test_a_failed_run_is_the_worst_in_recall_and_says_nothing_about_lengths():
    groups = runs(a=[1, 2, 3], b=[None, None, None])
    assert larger(groups, "recall", "a", "b").verdict() == HOLDS
    assert smaller(groups, "also.length", "a", "b").verdict() == UNDECIDED
    assert smaller(groups, "also.length", "a", "b").as_json()["values"]["larger"] == [None] * 3
    assert median_over_seeds(groups, "fid") == pytest.approx({"a": 2.0, "b": np.nan}, nan_ok=True)
    diverged = groups["a"][0]
    diverged.results["diverged"] = True
    assert diverged.failed and diverged.number_or_none("fid") is None and diverged.fid == 1


def test_not_much_larger_needs_a_bound_that_every_seed_keeps():
    within = lambda a, b: smaller(runs(a=a, b=b), "fid", "a", "b", at_most=0.25).verdict()
    assert within([10, 11, 12], [10, 11, 12]) == HOLDS
    assert within([10, 11, 12.6], [10, 11, 12]) == UNDECIDED  # 26% above the smallest
    assert within([20, 21, 22], [10, 11, 12]) == REVERSED
    assert within([1, 2, 3], [10, 11, 12]) == HOLDS
    assert within([11.2, 11.3, 12.6], [10, 10.05, 10.1]) == UNDECIDED  # 12% larger, within 25%
    assert within([12.7, 13, 14], [10, 10.05, 10.1]) == REVERSED
    assert within([13, 14, 15], [10, 11, 12]) == UNDECIDED  # within the bound of the largest
    assert within([1, 2, 3], [10, 11, None]) == HOLDS
    assert within([13, 14, 15], [10, 11, None]) == UNDECIDED
    assert within([1, 2, None], [10, 11, 12]) == UNDECIDED
    assert within([None, None, None], [10, 11, 12]) == REVERSED
    assert within([None, None, None], [None, None, None]) == UNDECIDED
    bound = smaller(runs(a=[1.0], b=[0.5]), "fid", "a", "b", at_most=0.25)
    assert bound.visible() is None and str(bound).endswith("(claimed: at most 25% more)")


def test_an_undecided_claim_says_which_difference_would_have_been_seen():
    """If the medians are as far apart as it says, there is a verdict, whichever side is smaller; if
    they are half as far apart, there is none on one side at least."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        a, b = rng.uniform(10, 14, (2, 3))
        visible = Comparison("x", ("a", "b"), (list(a), list(b))).visible()

        def verdict(apart):
            moved = b - np.median(b) + np.median(a) + apart
            return Comparison("x", ("a", "b"), (list(a), list(moved))).verdict()

        assert verdict(1.0001 * visible) == HOLDS and verdict(-1.0001 * visible) == REVERSED
        assert UNDECIDED in (verdict(0.5 * visible), verdict(-0.5 * visible))
    assert Comparison("x", ("a", "b"), ([np.inf], [1.0])).visible() is None
    text = str(Comparison("x", ("a", "b"), ([1.0, 2.0], [1.5, 3.2])))
    assert text == (
        "x: a: 1.500 (1.000, 2.000); b: 2.350 (1.500, 3.200) (a difference of 1.4 would have been "
        "seen)"
    )


def test_the_lowest_label_is_not_one_whose_runs_failed():
    groups = runs(a=[1, None, None], b=[5, 6, 7], c=[None, None, None])
    assert lowest(groups, "fid") == "b" and lowest(groups, "also.length") == "b"
    assert lowest(runs(a=[3, 4, 5], b=[1, 4.5, 9]), "fid") == "a"


def test_the_error_is_the_rest_of_the_accuracy():
    """A tenth more than an accuracy of .98 is out of reach; its error has room."""
    (a,), (b,) = runs(a=[1], b=[1]).values()
    a.metrics["class_accuracy"], b.metrics["class_accuracy"] = 0.98, 0.97
    groups = {"a": [a], "b": [b]}
    assert larger(groups, "class_accuracy", "a", "b").verdict() == UNDECIDED
    comparison = smaller(groups, "class_error", "a", "b")
    assert comparison.verdict() == HOLDS and comparison.values == ([pytest.approx(0.02)],) + (
        [pytest.approx(0.03)],
    )
    b.results["diverged"] = True
    assert smaller(groups, "class_error", "a", "b").values[1] == [np.inf]


def test_a_claim_of_several_comparisons_needs_all_of_them():
    groups = runs(a=[1, 2, 3], b=[4, 5, 6], c=[7, 8, 9])
    smaller_than = lambda a, b: smaller(groups, "fid", a, b)
    verdict = lambda *evidence: Claim("", evidence).verdict()
    assert verdict(smaller_than("a", "b"), smaller_than("b", "c")) == HOLDS
    assert verdict(smaller_than("b", "a"), smaller_than("c", "b")) == REVERSED
    assert verdict(smaller_than("a", "b"), smaller_than("c", "b")) == UNDECIDED
    assert Claim("", smaller_than("a", "b")).verdict() == HOLDS


def test_a_claim_with_a_rule_of_its_own_is_true_of_all_runs_or_of_none():
    verdict = lambda evidence: Claim("", evidence).verdict()
    assert verdict(True) == HOLDS and verdict(np.bool_(False)) == REVERSED
    assert verdict([True, True]) == HOLDS and verdict([False, False]) == REVERSED
    assert verdict([True, False]) == verdict([]) == UNDECIDED


def test_medians_are_shown_with_all_seeds_and_with_what_failed():
    assert median_and_all([3.0, 1.0, 2.0], 1) == "2.0 (3.0, 1.0, 2.0)"
    assert median_and_all([3.0, None, 1.0], 1) == "2.0 (3.0, 1.0; 1 failed)"
    assert median_and_all([None, np.inf]) == "2 failed" and median_and_all([]) == "-"
    assert median_and_all([0.5]) == "0.50"
