"""Units and names of the statistics, and the check that a result has the dimensions that one needs."""

import xarray as xr

ATTRIBUTES = {
    "barrier": {"units": "nats per example", "long_name": "loss barrier"},
    "error_barrier": {"units": "fraction", "long_name": "error barrier"},
    "definition": {"units": "", "long_name": "definition of the barrier"},
    "mean_excess": {"units": "nats per example", "long_name": "mean excess loss"},
    "mean_interval": {"units": "nats per example", "long_name": "95 % bootstrap interval of the mean excess loss"},
    "quantile_interval": {
        "units": "nats per example",
        "long_name": "95 % interval of every quantile",
    },
    "excess_quantile": {"units": "nats per example", "long_name": "quantiles of the excess loss"},
    "mean_interval_examples": {
        "units": "nats per example",
        "long_name": "95 % bootstrap interval over examples of the mean excess loss",
    },
    "quantile_interval_examples": {
        "units": "nats per example",
        "long_name": "95 % bootstrap interval over examples of every quantile",
    },
    "share_interval_examples": {
        "units": "fraction",
        "long_name": "95 % bootstrap interval over examples of the share of low loss",
    },
    "parents_disagreement": {"units": "fraction", "long_name": "disagreement of A and B"},
    "nearest_disagreement": {"units": "fraction", "long_name": "disagreement of a draw with its nearer parent, mean"},
    "draws_disagreement": {"units": "fraction", "long_name": "disagreement of two draws, mean"},
    "diversity": {"units": "fraction", "long_name": "disagreement with the nearer parent, of that of the parents"},
    "diversity_interval": {"units": "fraction", "long_name": "95 % bootstrap interval over draws of that share"},
    "ensemble_gain": {"units": "fraction", "long_name": "accuracy of all draws' ensemble less their mean accuracy"},
    "barrier_at": {"units": "nats per example", "long_name": "loss above the mean of the ends"},
    "tolerated_strength": {"units": "fraction", "long_name": "strength at which the barrier passes the threshold"},
    "tolerated_interval": {"units": "fraction", "long_name": "95 % bootstrap interval of that strength"},
    "tolerated_churn": {"units": "fraction", "long_name": "units moved at that strength"},
    "worst_excess": {"units": "nats per example", "long_name": "largest excess loss"},
    "low_loss_share": {"units": "fraction", "long_name": "share of draws of low loss"},
    "share_interval": {"units": "fraction", "long_name": "95 % Wilson interval of that share"},
    "route_barrier": {"units": "nats per example", "long_name": "loss barrier of a route, mean over pairs"},
    "lowest_barrier": {"units": "nats per example", "long_name": "lowest loss barrier of a route"},
    "highest_barrier": {"units": "nats per example", "long_name": "highest loss barrier of a route"},
    "cost_of_third": {"units": "nats per example", "long_name": "barrier through a third mode less the direct one"},
    "share_kept": {"units": "fraction", "long_name": "share of the gain of alignment kept through a third mode"},
    "kind": {"units": "", "long_name": "kind of route"},
    "x": {"units": "fraction", "long_name": "first coordinate of the embedding"},
    "y": {"units": "fraction", "long_name": "second coordinate of the embedding"},
    "explained": {"units": "fraction", "long_name": "share of the squared distances that the embedding shows"},
    "quantile": {"units": "fraction", "long_name": "quantile"},
    "bound": {"units": "", "long_name": "bound of the interval"},
}


def require(dataset: xr.Dataset, dimension: str, sweep: str):
    if dimension not in dataset.dims:
        raise ValueError(
            f"this needs the result of sweep_{sweep}, with the dimension '{dimension}'; "
            f"the dataset has the dimensions {', '.join(map(str, dataset.dims))}."
        )
