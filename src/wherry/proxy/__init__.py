"""What kube-proxy does: programs Services into nftables; the kernel carries the traffic."""
