"""Images: data sets as uint8 arrays, prepared once, and ImageNet's folders, decoded and augmented."""
