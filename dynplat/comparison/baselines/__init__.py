"""Baselines for populations, without parameters: a model is worth its time where it beats them."""
