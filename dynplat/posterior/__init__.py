"""Posterior and Prediction: plain arrays with ArviZ's group names, provenance, questions asked of them, save and load."""

from dynplat.posterior.posterior import Posterior
from dynplat.posterior.predict import forecast, impute, predict, simulate, simulate_sites
from dynplat.posterior.prediction import Interval, Prediction

__all__ = ["Interval", "Posterior", "Prediction", "forecast", "impute", "predict", "simulate", "simulate_sites"]
