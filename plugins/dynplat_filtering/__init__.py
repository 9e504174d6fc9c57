"""Continuous-discrete filtering: linear stochastic differential equations observed at irregular times."""
