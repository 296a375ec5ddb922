"""Measures as pure functions: of codes, images and labels, each with the interval of its number."""
