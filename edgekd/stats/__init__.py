"""Quantiles, proportions, means, areas, correlations, perplexities and their differences, with confidence intervals.

Pure functions on numbers. Intervals are two-sided: each end is missed with a probability of at most
(1 - confidence) / 2, exactly so for quantiles and proportions and nearly so for all others. Those of `sequences`
may be looked at as often as one likes while samples come in; the others once.
"""

from __future__ import annotations

from edgekd.stats._interval import Interval, Samples
from edgekd.stats.areas import auc, auc_drop_interval, auc_interval
from edgekd.stats.calibration import BINS as CALIBRATION_BINS
from edgekd.stats.calibration import CalibrationBin, calibration_bins, calibration_interval
from edgekd.stats.confusions import (
    macro_f1,
    macro_f1_drop_interval,
    macro_f1_interval,
    mcc,
    mcc_drop_interval,
    mcc_interval,
)
from edgekd.stats.gains import gain_interval, recovered_interval
from edgekd.stats.histograms import Stream
from edgekd.stats.likelihoods import (
    bits_drop_interval,
    bits_interval,
    bits_per_byte,
    perplexity,
    perplexity_drop_interval,
    perplexity_interval,
)
from edgekd.stats.means import mean_drop_interval, mean_interval, ratio_interval
from edgekd.stats.proportions import paired_drop_interval, proportion_interval, relative_drop_interval
from edgekd.stats.quantiles import (
    QUANTILES,
    quantile_interval,
    quantile_of_sorted,
    runs_needed,
    series_quantile_interval,
    supported_quantiles,
)
from edgekd.stats.ranks import spearman, spearman_drop_interval, spearman_interval
from edgekd.stats.sequences import mean_sequence, samples_to_clear

__all__ = [
    "CALIBRATION_BINS",
    "QUANTILES",
    "CalibrationBin",
    "Interval",
    "Samples",
    "Stream",
    "auc",
    "auc_drop_interval",
    "auc_interval",
    "bits_drop_interval",
    "bits_interval",
    "bits_per_byte",
    "calibration_bins",
    "calibration_interval",
    "gain_interval",
    "macro_f1",
    "macro_f1_drop_interval",
    "macro_f1_interval",
    "mcc",
    "mcc_drop_interval",
    "mcc_interval",
    "mean_drop_interval",
    "mean_interval",
    "mean_sequence",
    "paired_drop_interval",
    "perplexity",
    "perplexity_drop_interval",
    "perplexity_interval",
    "proportion_interval",
    "quantile_interval",
    "quantile_of_sorted",
    "ratio_interval",
    "recovered_interval",
    "relative_drop_interval",
    "runs_needed",
    "samples_to_clear",
    "series_quantile_interval",
    "spearman",
    "spearman_drop_interval",
    "spearman_interval",
    "supported_quantiles",
]
