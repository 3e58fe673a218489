"""Folders of images and of files with several arrays each."""
