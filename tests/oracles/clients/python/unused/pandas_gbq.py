"""In the place of pandas-gbq, which the client imports and does not use for what is asked of it."""

gbq = None
