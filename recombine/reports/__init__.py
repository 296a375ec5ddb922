"""A judgement as a page; templates, tables, images and curves that the page of a comparison uses, too."""
