"""What several methods share and no single paper owns."""
