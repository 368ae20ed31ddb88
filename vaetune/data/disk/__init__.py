"""Images that stay on the disk, and the cache of the user."""
