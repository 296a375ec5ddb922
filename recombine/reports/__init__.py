"""What pages are made of: words and numbers, tables, images, curves, and one style sheet."""
