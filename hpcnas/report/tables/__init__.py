"""Tables of a report: the paper's, the search's own, and the formats that they are written in."""
