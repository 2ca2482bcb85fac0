"""Charts of a report: what they show, and how as SVG, PNG and CSV."""
