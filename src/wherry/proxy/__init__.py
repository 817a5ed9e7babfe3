"""What kube-proxy does: programs Services into nftables; the kernel carries the traffic.

Promises: after a change of a Service or EndpointSlice the kernel follows within milliseconds, in one atomic transaction
that touches only what changed; a new process takes over what an earlier one left without dropping a packet. The rules
outlive the process; `wherry.proxy.proxy.destroy` removes them.

`services` and `endpoints` read the objects, `plan` turns them into a `ruleset`, `proxy` runs it all. All but `proxy`
are pure.
"""
