"""A run that is not finished: what is done of it lasts, so that it can be resumed."""
