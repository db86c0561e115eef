"""Accumulators: one statistic a file. `__all__` is the registry that the command line reads."""

from pwact.core.combinators import by_class, named, on, per_channel
from pwact.stats.accuracy import accuracy
from pwact.stats.agreement import agreement
from pwact.stats.bottom_k import bottom_k
from pwact.stats.calibration_error import calibration_error
from pwact.stats.cka import cka
from pwact.stats.coactivation import coactivation
from pwact.stats.confusion import confusion
from pwact.stats.covariance import covariance
from pwact.stats.cross_covariance import cross_covariance
from pwact.stats.density import density
from pwact.stats.exact_quantiles import exact_quantiles
from pwact.stats.extrema import extrema
from pwact.stats.firing import firing
from pwact.stats.gradients import gradient_times_activation, of_gradient
from pwact.stats.histogram import histogram
from pwact.stats.hsic import hsic
from pwact.stats.lifetime_gini import lifetime_gini
from pwact.stats.lifetime_sparsity import lifetime_sparsity
from pwact.stats.moments import moments
from pwact.stats.mutual_information import mutual_information
from pwact.stats.overlap import overlap
from pwact.stats.pca import pca
from pwact.stats.population_gini import population_gini
from pwact.stats.population_sparsity import population_sparsity
from pwact.stats.quantiles import quantiles
from pwact.stats.selectivity import selectivity
from pwact.stats.top_k import top_k

__all__ = [
    "accuracy",
    "agreement",
    "bottom_k",
    "by_class",
    "calibration_error",
    "cka",
    "coactivation",
    "confusion",
    "covariance",
    "cross_covariance",
    "density",
    "exact_quantiles",
    "extrema",
    "firing",
    "gradient_times_activation",
    "histogram",
    "hsic",
    "lifetime_gini",
    "lifetime_sparsity",
    "moments",
    "mutual_information",
    "named",
    "of_gradient",
    "on",
    "overlap",
    "pca",
    "per_channel",
    "population_gini",
    "population_sparsity",
    "quantiles",
    "selectivity",
    "top_k",
]
