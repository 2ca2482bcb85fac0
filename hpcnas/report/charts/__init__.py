"""Charts of a report: what they show, and how as SVG, PDF, PNG and CSV."""
