"""Reading of folders of image files."""
