"""An OCI image store: content-addressed blobs, layers unpacked once and stacked with overlayfs.

Knows no Kubernetes kind. A damaged or hostile image is refused and leaves nothing.
"""
