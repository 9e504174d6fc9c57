"""Parts of the inference `train`: what a batch is, the rate of a step, checkpoints, several processes, the loop."""
