"""Paired comparison of two classifiers, against figures reckoned by hand or published."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from operator import mul

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import binom, t, ttest_rel
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar

from textrnn.analysis.significance import Estimate, PairedTest, SeedPrior, accuracy_interval, contrast, vote


def paired(only_first: int, only_second: int, both: int = 0) -> PairedTest:
    """So many examples, each drawn for itself."""
    first = np.repeat([True, False, True], [only_first, only_second, both])
    second = np.repeat([False, True, True], [only_first, only_second, both])
    return PairedTest(first, second, [str(row) for row in range(len(first))])


def test_exact_mcnemar_by_hand() -> None:
    # Ten decide, eight for the first: (45 + 10 + 1) of 1024 ways are as good or better.
    assert paired(8, 2, 40).p_value == pytest.approx(56 / 1024)
    assert paired(2, 8, 40).p_value == pytest.approx(1 - 11 / 1024)
    assert paired(0, 0, 50).p_value == 1


def test_groups_are_turned_round_whole() -> None:
    """Against every choice of signs, one by one."""
    draw = np.random.default_rng(5)
    first, second = draw.random((2, 60)) < [[0.7], [0.5]]
    groups = [f"film {row % 9}" for row in range(60)]
    leads = [sum(int(first[row]) - int(second[row]) for row in range(film, 60, 9)) for film in range(9)]
    sums = [sum(map(mul, signs, leads)) for signs in product((1, -1), repeat=9)]
    assert PairedTest(first, second, groups).p_value == pytest.approx(np.mean([each >= sum(leads) for each in sums]))


def test_the_interval_is_nearly_bonett_and_prices() -> None:
    # (8 + 1) / 52 and (2 + 1) / 52; their difference ± 1.96 * sqrt((12 / 52 - (6 / 52) ** 2) / 52).
    # They use the normal distribution and divide by 52, Student's interval is a little wider.
    assert paired(8, 2, 40).interval() == pytest.approx((-0.011360, 0.242130), abs=0.005)
    low, high = paired(0, 0, 50).interval()
    assert low == pytest.approx(-high)
    assert 0.02 < high < 0.1


def test_wilson_is_newcombes_example() -> None:
    """81 of 263: Newcombe, Statistics in Medicine 1998, table I."""
    assert accuracy_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_a_difference_that_is_not_there_is_rarely_found() -> None:
    """The exact test's error, summed over every outcome: never above its level."""
    for decided in (5, 20, 101):
        outcomes = np.arange(decided + 1)
        wrong = [paired(int(count), int(decided - count)).p_value <= 0.05 for count in outcomes]
        assert binom.pmf(outcomes, decided, 0.5)[wrong].sum() <= 0.05


def test_mcnemar_is_statsmodels() -> None:
    for only_first, only_second in ((8, 2), (30, 21), (5, 5)):
        two_sided = mcnemar([[40, only_first], [only_second, 9]], exact=True).pvalue
        first, second = (paired(*counts).p_value for counts in ((only_first, only_second), (only_second, only_first)))
        assert min(1, 2 * min(first, second)) == pytest.approx(two_sided)


def test_one_experiment_has_the_mean_squares_of_a_two_way_layout() -> None:
    """Against statsmodels' analysis of variance: 3 seeds meet 7 examples."""
    draw = np.random.default_rng(0)
    correct = draw.random((3, 7)) < 0.6
    layout = pd.DataFrame([(seed, example, float(correct[seed, example])) for seed in range(3) for example in range(7)])
    layout.columns = ["seed", "example", "right"]
    squares = anova_lm(sm.OLS.from_formula("right ~ C(seed) + C(example)", layout).fit())
    mean_square = squares["sum_sq"] / squares["df"]
    seeds, examples = (mean_square[f"C({name})"] / 21 for name in ("seed", "example"))
    estimate = contrast([correct], [1.0])
    assert estimate.value == pytest.approx(correct.mean())
    assert estimate.parts == (pytest.approx((examples, 6)), pytest.approx((seeds, 2)))
    assert estimate.error**2 == pytest.approx(seeds + examples)


def test_quantiles_are_weighted_by_variance() -> None:
    """Cochran: 3 parts of variance with 2 degrees of freedom, 1 part with 50."""
    estimate = Estimate(0.1, ((0.0003, 2), (0.0001, 50)))
    quantile = (3 * t.ppf(0.95, 2) + t.ppf(0.95, 50)) / 4
    low, high = estimate.interval(0.9)
    assert (low, high) == pytest.approx((0.1 - quantile * 0.02, 0.1 + quantile * 0.02))
    assert Estimate(0.02 * quantile, estimate.parts).p_value == pytest.approx(0.1)
    assert Estimate(-0.02 * quantile, estimate.parts).p_value == pytest.approx(0.1)
    assert estimate.accuracy_interval(0.99) == (0.0, pytest.approx(estimate.interval(0.99)[1]))


def test_p_values_stay_true_far_out() -> None:
    assert Estimate(0.5, ((0.0001, 2000),)).p_value == pytest.approx(2 * t.sf(50, 2000))
    assert Estimate(30.0, ((0.0001, 10**6),)).p_value == 0
    assert Estimate(0.0, ((0.0001, 5),)).p_value == 1


def test_a_seed_each_is_students_paired_test() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.random((2, 1, 50)) < np.array([0.7, 0.6])[:, None, None]
    difference = contrast([first, second], [1, -1])
    assert difference.p_value == pytest.approx(ttest_rel(first[0].astype(float), second[0].astype(float)).pvalue)


def test_without_chance_in_the_examples_only_the_seeds_vary() -> None:
    """Examples that are alike within a seed."""
    first, second = (np.array(values)[:, None] * np.ones((1, 6)) for values in ((0.7, 0.8, 0.75), (0.6, 0.4)))
    difference = contrast([first, second], [1, -1])
    assert difference.value == pytest.approx(0.25)
    variances = [0.0025 / 3, 0.02 / 2]
    assert difference.parts[1:] == (pytest.approx((variances[0], 2)), pytest.approx((variances[1], 1)))
    quantile = (variances[0] * t.ppf(0.975, 2) + variances[1] * t.ppf(0.975, 1)) / sum(variances)
    spread = quantile * sum(variances) ** 0.5
    assert difference.interval() == pytest.approx((0.25 - spread, 0.25 + spread))


def test_a_baseline_knows_no_seeds() -> None:
    draw = np.random.default_rng(4)
    network, baseline = draw.random((3, 40)) < 0.7, draw.random((1, 40)) < 0.6
    known = SeedPrior(1.0, 5.0)
    both, alone = (contrast(each, [1, -1][: len(each)], prior=known) for each in ([network, baseline], [baseline]))
    assert [freedom for _, freedom in both.parts] == [39, 7]
    assert [freedom for _, freedom in alone.parts] == [39]


def _study(spreads: Sequence[float], seeds: int, draw: np.random.Generator) -> list[np.ndarray]:
    """Experiments whose examples are alike within a seed, so that only seeds vary."""
    return [0.7 + spread * draw.normal(size=(seeds, 1)) * np.ones((1, 4)) for spread in spreads]


def test_a_prior_is_found_again_where_it_is_known() -> None:
    """Variances drawn from the scaled inverse chi-squared distribution that the method assumes."""
    draw = np.random.default_rng(8)
    variances = 0.0004 * 4 / draw.chisquare(4, 3000)
    prior = SeedPrior.of_study(_study(np.sqrt(variances), 3, draw))
    assert prior.variance == pytest.approx(0.0004, rel=0.1)
    assert prior.freedom == pytest.approx(4, rel=0.15)


def test_experiments_that_are_alike_are_pooled() -> None:
    prior = SeedPrior.of_study(_study([0.02] * 400, 3, np.random.default_rng(9)))
    assert prior.variance == pytest.approx(0.0004, rel=0.1)
    assert prior.freedom > 50


def test_a_moderated_variance_is_between_its_own_and_the_studys() -> None:
    assert SeedPrior(0.0004, 6.0).moderated(0.0001, 2) == (pytest.approx((6 * 0.0004 + 2 * 0.0001) / 8), 8.0)
    assert SeedPrior().moderated(0.0001, 2) == (0.0001, 2)


def test_too_few_experiments_give_no_prior() -> None:
    two = _study([0.02, 0.01], 3, np.random.default_rng(10))
    single = [np.ones((1, 4), bool)] * 5
    assert SeedPrior.of_study([*two, *single]) == SeedPrior()
    assert SeedPrior.of_study([np.ones((3, 4), bool)] * 5) == SeedPrior()  # seeds that never differ


def test_groups_are_statsmodels_clusters() -> None:
    """A regression on nothing but a constant, with standard errors clustered by film."""
    draw = np.random.default_rng(5)
    films = np.repeat(["a", "b", "c", "d"], (3, 9, 4, 8))
    right = (draw.random((1, 24)) < 0.6).astype(float)
    fit = sm.OLS(right[0], np.ones(24)).fit(
        cov_type="cluster", cov_kwds={"groups": np.unique(films, return_inverse=True)[1], "use_correction": True}
    )
    # statsmodels' correction is G / (G - 1) * (n - 1) / (n - k), which with one constant is the first factor alone.
    estimate = contrast([right], [1.0], films.tolist())
    assert estimate.error == pytest.approx(fit.bse[0])
    assert estimate.parts[0][1] == 3


def test_a_group_for_each_text_is_no_grouping() -> None:
    right = np.random.default_rng(6).random((3, 20)) < 0.5
    alone, without = (contrast([right], [1.0], groups) for groups in ([str(row) for row in range(20)], None))
    assert alone.parts[0] == pytest.approx(without.parts[0])


def test_of_a_single_group_the_variance_is_unknown() -> None:
    right = np.array([[True, False, True]])
    estimate = contrast([right], [1.0], ["film"] * 3)
    assert np.isnan(estimate.interval()).all()
    assert estimate.p_value == 1


def test_the_votes_variance_is_the_jackknifes() -> None:
    """Three seeds, four texts: with each seed in turn left out, the vote is right about 2, 2 and 3 of them."""
    probabilities = [
        [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]],
        [[0.9, 0.1], [0.9, 0.1], [0.0, 1.0], [0.9, 0.1]],
        [[0.9, 0.1], [0.9, 0.1], [0.0, 1.0], [0.0, 1.0]],
    ]
    labels = np.zeros(4, int)
    estimate = vote([np.array(each) for each in probabilities], labels)
    assert estimate.value == 0.75  # the sums for text 3 are 0.9 to 2.1, for text 4 1.8 to 1.2
    without = np.array([0.5, 0.5, 0.75])  # two seeds that disagree about a text sum up to 0.9 and 1.1: wrong
    assert estimate.parts[1] == pytest.approx((2 / 3 * ((without - without.mean()) ** 2).sum(), 2))
    assert estimate.parts[0] == pytest.approx((0.1875 / 3, 3))


def test_the_vote_of_one_seed_is_that_seed() -> None:
    probabilities = np.random.default_rng(7).dirichlet((1, 1), 30)
    labels = np.arange(30) % 2
    assert vote([probabilities], labels) == contrast([[probabilities.argmax(axis=1) == labels]], [1.0])


def test_differences_are_averaged_with_their_weights() -> None:
    draw = np.random.default_rng(2)
    runs = [draw.random((3, 40)) < share for share in (0.5, 0.6, 0.7, 0.8)]
    both = contrast(runs, [-0.5, 0.5, -0.5, 0.5])
    pairs = [contrast(runs[place : place + 2], [-1, 1]).value for place in (0, 2)]
    assert both.value == pytest.approx(np.mean(pairs))


def test_what_never_differs_is_no_finding() -> None:
    same = np.ones((3, 5), bool)
    assert contrast([same, same], [1, -1]).p_value == 1
    assert contrast([same, ~same], [1, -1]).p_value == 0
