"""Views: what records look like in a notebook and a terminal."""
