"""The nouns of a matrix of images and machines."""
