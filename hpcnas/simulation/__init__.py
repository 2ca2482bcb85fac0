"""The search of the head in virtual time: the same breeding, workers that only let a clock run (`simulate`)."""
