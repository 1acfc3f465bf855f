"""One file for each kind of page: what it says, as plain data for its template."""
