"""Drawings of a genotype: what they show, and how as a figure, as text and in DOT."""
