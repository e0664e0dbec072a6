"""From pixels to image features, and features of a frozen tower kept."""
