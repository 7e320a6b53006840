"""What is special about object stores: S3, signed URLs, the move."""
