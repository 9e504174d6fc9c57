"""Template: a family of models for dynplat."""
