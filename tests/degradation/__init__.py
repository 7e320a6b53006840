"""What a client does while its service, or the files, cannot be reached."""
