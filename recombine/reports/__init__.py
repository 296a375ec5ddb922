"""What pages are made of: words and numbers, tables, pictures, curves, and one style sheet."""
