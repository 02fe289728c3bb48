"""Where traces are found, and what is known of each guest beside its rows."""
