"""Who trains: this process, or workers on Ray."""
