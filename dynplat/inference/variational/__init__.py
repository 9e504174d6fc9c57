"""The loops of stochastic variational inference, one file per language."""
