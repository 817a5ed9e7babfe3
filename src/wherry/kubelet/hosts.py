"""The files that a kubelet writes for a pod: /etc/hosts, /etc/resolv.conf, and its host name."""

from collections.abc import Sequence
from pathlib import Path

from wherry.api import meta
from wherry.kubelet import podspec
from wherry.kubelet.config import KubeletConfig
from wherry.runtime.protocol import ContainerError

HOST_FILE = Path("/etc/hosts")

_MAX_HOSTNAME = 63
_MAX_NODENAME = 64  # of the kernel
_MAX_NAMESERVERS = 3
_MAX_SEARCH = 32

_HEADER = "# Kubernetes-managed hosts file.\n"
_HOST_HEADER = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


def hostname(pod: meta.Object, *, node_hostname: str, cluster_domain: str) -> tuple[str, str]:
    """Return (host name, domain) of a pod; the domain is empty without a subdomain.

    Raises ContainerError for a full name that the kernel cannot hold.
    """
    if podspec.host_network(pod):
        return node_hostname, ""
    override = pod["spec"].get("hostnameOverride")
    if override:
        return override, ""
    name = (pod["spec"].get("hostname") or meta.name(pod))[:_MAX_HOSTNAME].rstrip("-.")
    subdomain = pod["spec"].get("subdomain")
    domain = f"{subdomain}.{meta.namespace(pod)}.svc.{cluster_domain}" if subdomain else ""
    if pod["spec"].get("setHostnameAsFQDN") and domain:
        full = f"{name}.{domain}"
        if len(full) > _MAX_NODENAME:
            raise ContainerError(
                f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
                f"({_MAX_NODENAME} characters is the max, {len(full)} characters requested)",
                reason="CreatePodSandboxError",
            )
        return full, domain
    return name, domain


def hosts_file(pod: meta.Object, *, addresses: Sequence[str], name: str, domain: str, host_hosts: str = "") -> str:
    """Return the text of /etc/hosts; `host_hosts` is the node's own file, for pods on the host's network."""
    if podspec.host_network(pod):
        text = _HOST_HEADER + host_hosts
    else:
        text = _HEADER + _LOCAL
        short = name.partition(".")[0] if domain and name.endswith(domain) else name
        for address in addresses:
            text += f"{address}\t{short}.{domain}\t{short}\n" if domain else f"{address}\t{name}\n"
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{alias['ip']}\t{chr(9).join(alias.get('hostnames') or ())}\n" for alias in aliases)
    return text


def resolv_conf(pod: meta.Object, config: KubeletConfig, host_text: str) -> str:
    """Return the text of /etc/resolv.conf for the pod's dnsPolicy and dnsConfig; `host_text` is the node's file.

    See kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy.
    """
    servers, search, options = parse_resolv_conf(host_text)
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    cluster_first = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not podspec.host_network(pod))
    if policy == "None":
        servers, search, options = [], [], []
    elif cluster_first and config.cluster_dns:
        domain = config.cluster_domain
        servers = list(config.cluster_dns)
        search = [f"{meta.namespace(pod)}.svc.{domain}", f"svc.{domain}", domain, *search]
        options = ["ndots:5"]
    extra = pod["spec"].get("dnsConfig") or {}
    servers = _unique([*servers, *(extra.get("nameservers") or ())])[:_MAX_NAMESERVERS]
    search = _unique([*search, *(extra.get("searches") or ())])[:_MAX_SEARCH]
    options = _merge_options(options, extra.get("options") or [])
    lines = []
    if search:
        lines.append("search " + " ".join(search))
    lines += [f"nameserver {server}" for server in servers]
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def parse_resolv_conf(text: str) -> tuple[list[str], list[str], list[str]]:
    """Return (nameservers, search domains, options) of a resolv.conf."""
    servers: list[str] = []
    search: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        match words[0]:
            case "nameserver" if len(words) > 1:
                servers.append(words[1])
            case "search":
                search = [w.rstrip(".") if w != "." else w for w in words[1:]]
            case "options":
                options = words[1:]
    return servers, search, options


def _merge_options(base: list[str], extra: list[dict[str, str]]) -> list[str]:
    merged = {option.partition(":")[0]: option for option in base}
    for option in extra:
        value = option.get("value")
        merged[option["name"]] = f"{option['name']}:{value}" if value else option["name"]
    return list(merged.values())


def _unique(items: list[str]) -> list[str]:
    return list(dict.fromkeys(items))


def read_text(path: Path) -> str:
    """Return the text of a file, empty when it is not there."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
