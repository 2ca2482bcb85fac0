"""Full-size training (paper section 4.1): recipe, step, checkpoints, ranks and result."""
