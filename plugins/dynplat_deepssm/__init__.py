"""Deep state-space models: structured linear recurrences, ways to run them, and layers and networks made of them."""
