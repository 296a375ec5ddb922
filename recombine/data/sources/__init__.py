"""What lies on disk: folders, label tables and published layouts, as one `Source`."""
