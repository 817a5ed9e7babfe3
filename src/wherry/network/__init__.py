"""Pod networking: a namespace, a veth pair and an address for each pod, routed by the host.

Promises: what `attach` made survives this process and is adopted by the next one's `start`; what a reboot broke is
dropped; `destroy` leaves nothing but the host's ``ip_forward``. Two clusters on one host do not meet as long as their
ranges differ. Knows no Kubernetes kind. Speaks netlink and nftables in this process: no subprocess for a pod.

`wherry.network.routed.RoutedNetwork` is the implementation, `wherry.network.nft.Nft` also serves ``wherry.proxy``.
"""
