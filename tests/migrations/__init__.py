"""Revisions of the tables: that they give what is declared, and the command that writes the first one."""
