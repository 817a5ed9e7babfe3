"""Volumes: one file per type, each makes the volume of one pod on this host and returns its path.

A type promises that setting up what is there already changes nothing, and that all it makes lies below the pod's
directories, so that tearing down needs no knowledge of types: unmount and remove what is below. Types that show objects
of the API are set up again when those change.
"""
