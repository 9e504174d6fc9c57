"""Posterior and Prediction: plain arrays under ArviZ's names, the questions asked of them, save and load."""

from dynplat.posterior.posterior import Posterior
from dynplat.posterior.predict import forecast, impute, predict
from dynplat.posterior.prediction import Interval, Prediction
from dynplat.posterior.simulate import simulate, simulate_sites

__all__ = ["Interval", "Posterior", "Prediction", "forecast", "impute", "predict", "simulate", "simulate_sites"]
