"""The loops of the no-U-turn sampler, one file per language."""
