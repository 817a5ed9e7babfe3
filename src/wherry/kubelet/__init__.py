"""What the kubelet does: drives every pod of its node towards its spec, over the runtime, images and network."""
