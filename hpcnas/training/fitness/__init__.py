"""Fitness: the contract of all evaluators, the user's function, the synthetic one, and the small model's training."""
