"""How a search ends: the budgets that drain it, and the commands of the user that are run then."""
