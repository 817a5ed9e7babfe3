"""Pods that do one thing and end, with what must come of it: the one-shot conformance tests of sig-node as a table.

A case is a shell script in a busybox container; `says` are regular expressions, each of which must match its log.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.e2e.cluster import IMAGE

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """`container` and `spec` are laid over the pod's; `status` are dotted paths of the status and their values."""

    script: str = ""
    says: tuple[str, ...] = ()
    phase: str = "Succeeded"
    container: Object = field(default_factory=dict)
    spec: Object = field(default_factory=dict)
    metadata: Object = field(default_factory=dict)
    status: Object = field(default_factory=dict)


def _from(**source: Any) -> Object:
    return {"valueFrom": source}


def _field(path: str) -> Object:
    return _from(fieldRef={"fieldPath": path})


def _amount(resource: str) -> Object:
    return _from(resourceFieldRef={"resource": resource})


def _env(**variables: Any) -> Object:
    return {"env": [{"name": n, **(v if isinstance(v, dict) else {"value": v})} for n, v in variables.items()]}


def _secured(**context: Any) -> Object:
    return {"securityContext": context}


_EMPTY = {"volumes": [{"name": "v", "emptyDir": {}}]}
_STATE = "containerStatuses.0.state.terminated"

OBJECTS: list[tuple[str, Object]] = [
    (
        "configmaps",
        {"metadata": {"name": "colours"}, "data": {"data-1": "value-1", "data-2": "value-2", "sky": "x"}},
    ),
    ("secrets", {"metadata": {"name": "hidden"}, "stringData": {"data-1": "secret-1", "data-2": "secret-2"}}),
]

CASES: dict[str, Case] = {
    # Commands and their expansion
    "command and arguments": Case(container={"command": ["echo", "a"], "args": ["b"]}, says=("^a b$",)),
    "arguments replace the image's": Case(container={"command": None, "args": ["echo", "over"]}, says=("^over$",)),
    "variables in the command": Case(
        container={"command": ["echo", "$(WHAT) $$(WHAT) $(NONE)"], **_env(WHAT="test-value")},
        says=(r"^test-value \$\(WHAT\) \$\(NONE\)$",),
        script="",
    ),
    "variables of variables": Case(
        script="env",
        container=_env(FOO="foo-value", BAR="$(FOO);;x", ESC="$$(FOO)"),
        says=("BAR=foo-value;;x", r"ESC=\$\(FOO\)"),
    ),
    # Environment from objects
    "environment from a config map": Case(
        container={
            "command": ["env"],
            **_env(ONE=_from(configMapKeyRef={"name": "colours", "key": "data-1"})),
            "envFrom": [{"configMapRef": {"name": "colours"}}, {"prefix": "p-", "configMapRef": {"name": "colours"}}],
        },
        says=("^ONE=value-1$", "^data-1=value-1$", "^p-data-2=value-2$", "^sky=x$"),
    ),
    "environment from a secret": Case(
        container={
            "command": ["env"],
            **_env(ONE=_from(secretKeyRef={"name": "hidden", "key": "data-1"})),
            "envFrom": [{"secretRef": {"name": "hidden"}}],
        },
        says=("^ONE=secret-1$", "^data-2=secret-2$"),
    ),
    "environment from a file that an init container wrote": Case(
        script="env; ls /v 2>/dev/null || echo not mounted",
        container=_env(COLOUR=_from(fileKeyRef={"volumeName": "v", "path": "made/env", "key": "COLOUR"})),
        spec={
            **_EMPTY,
            "initContainers": [
                {
                    "name": "writes",
                    "image": IMAGE,
                    "command": ["sh", "-c", "mkdir /v/made && echo \"COLOUR='deep blue'\" > /v/made/env"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
            ],
        },
        says=("^COLOUR=deep blue$", "^not mounted$"),
    ),
    # Downward API
    "environment about the pod": Case(
        script="env",
        container=_env(
            NAME=_field("metadata.name"),
            NAMESPACE=_field("metadata.namespace"),
            UID_=_field("metadata.uid"),
            IP=_field("status.podIP"),
            HOST=_field("status.hostIP"),
            HOSTS=_field("status.hostIPs"),
        ),
        says=(
            "^NAME=[a-z]",
            "^NAMESPACE=node-",
            r"^UID_=[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}$",
            r"^IP=\d+\.\d+\.\d+\.\d+$",
            r"^HOST=\d+\.\d+\.\d+\.\d+$",
            r"^HOSTS=\d+\.\d+\.\d+\.\d+$",
        ),
    ),
    "environment about resources": Case(
        script="env",
        container={
            **_env(
                CPU_LIMIT=_amount("limits.cpu"),
                MEMORY_LIMIT=_amount("limits.memory"),
                CPU_REQUEST=_amount("requests.cpu"),
                MEMORY_REQUEST=_amount("requests.memory"),
            ),
            "resources": {
                "requests": {"cpu": "250m", "memory": "32Mi"},
                "limits": {"cpu": "1250m", "memory": "64Mi"},
            },
        },
        says=("CPU_LIMIT=2$", "MEMORY_LIMIT=67108864$", "CPU_REQUEST=1$", "MEMORY_REQUEST=33554432$"),
    ),
    "limits default to the node's": Case(
        script="env",
        container=_env(CPU_LIMIT=_amount("limits.cpu"), MEMORY_LIMIT=_amount("limits.memory")),
        says=("CPU_LIMIT=[1-9]", "MEMORY_LIMIT=[1-9]"),
    ),
    "services in the environment": Case(
        script="env", says=(r"^KUBERNETES_SERVICE_HOST=\d", "^KUBERNETES_SERVICE_PORT=443$", "^KUBERNETES_PORT=tcp://")
    ),
    # Termination
    "termination message from the file": Case(
        script="echo -n DONE > /dev/termination-log", status={f"{_STATE}.message": "DONE", f"{_STATE}.exitCode": 0}
    ),
    "termination message of another user and path": Case(
        script="echo -n DONE > /dev/termination-custom-log",
        container={"terminationMessagePath": "/dev/termination-custom-log", **_secured(runAsUser=10000)},
        status={f"{_STATE}.message": "DONE"},
    ),
    "termination message from the log of a failure": Case(
        script="echo -n DONE; exit 1",
        container={"terminationMessagePolicy": "FallbackToLogsOnError"},
        phase="Failed",
        status={f"{_STATE}.message": "DONE", f"{_STATE}.reason": "Error", f"{_STATE}.exitCode": 1},
    ),
    "no termination message from the log of a success": Case(
        script="echo -n DONE",
        container={"terminationMessagePolicy": "FallbackToLogsOnError"},
        status={f"{_STATE}.message": None},
    ),
    "failure has a reason": Case(
        container={"command": ["/bin/false"]}, phase="Failed", status={f"{_STATE}.reason": "Error"}
    ),
    "deadline ends a pod": Case(
        script="sleep 100", spec={"activeDeadlineSeconds": 1}, phase="Failed", status={"reason": "DeadlineExceeded"}
    ),
    # Files
    "host aliases": Case(
        script="cat /etc/hosts",
        spec={"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]},
        says=("# Kubernetes-managed hosts file", r"^123\.45\.67\.89\tfoo\tbar$"),
    ),
    "hosts file of the host": Case(script="cat /etc/hosts", spec={"hostNetwork": True}, says=("localhost",)),
    "hosts file given by a mount": Case(
        script="cat /etc/hosts",
        container={"volumeMounts": [{"name": "h", "mountPath": "/etc/hosts"}]},
        spec={"volumes": [{"name": "h", "hostPath": {"path": "/etc/hostname", "type": "File"}}]},
        says=(r"\A(?![\s\S]*Kubernetes-managed)",),
    ),
    "read-only root": Case(
        script="(echo x > /file) 2>/dev/null || echo refused",
        container=_secured(readOnlyRootFilesystem=True),
        says=("^refused$",),
    ),
    "writable root": Case(
        script="echo x > /file && cat /file", container=_secured(readOnlyRootFilesystem=False), says=("^x$",)
    ),
    "image volume": Case(
        script="cat /picture/www/index.html; (echo x > /picture/y) 2>/dev/null || echo refused",
        container={"volumeMounts": [{"name": "i", "mountPath": "/picture"}]},
        spec={"volumes": [{"name": "i", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}]},
        says=("^hello$", "^refused$"),
    ),
    "sub-path from a variable": Case(
        script="echo x > /part/f && find /whole -type f",
        container={
            **_env(NAME={"value": "mine"}),
            "volumeMounts": [
                {"name": "v", "mountPath": "/part", "subPathExpr": "$(NAME)/deep"},
                {"name": "v", "mountPath": "/whole"},
            ],
        },
        spec=_EMPTY,
        says=("^/whole/mine/deep/f$",),
    ),
    # Users and rights
    "user of the container": Case(script="id -u", container=_secured(runAsUser=65534), says=("^65534$",)),
    "group of the container": Case(
        script="id -u; id -g", container=_secured(runAsUser=1001, runAsGroup=2002), says=("^1001$", "^2002$")
    ),
    "group of the pod": Case(
        script="id -u; id -g",
        spec={"securityContext": {"runAsUser": 1001, "runAsGroup": 2002, "supplementalGroups": [7]}},
        says=("^1001$", "^2002$"),
    ),
    "no new privileges": Case(
        script="grep NoNewPrivs /proc/self/status",
        container=_secured(runAsUser=1000, allowPrivilegeEscalation=False),
        says=(r"^NoNewPrivs:\s+1$",),
    ),
    "not privileged": Case(
        script="mount -t tmpfs none /tmp 2>/dev/null || echo refused",
        container=_secured(privileged=False),
        says=("^refused$",),
    ),
    "privileged": Case(
        script="mount -t tmpfs none /tmp && echo done", container=_secured(privileged=True), says=("^done$",)
    ),
    "sysctls": Case(
        script="cat /proc/sys/kernel/shm_rmid_forced",
        spec={"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}},
        says=("^1$",),
    ),
    "sysctls that are not safe": Case(
        script="true",
        spec={"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "10000000000"}]}},
        phase="Failed",
        status={"reason": "SysctlForbidden"},
    ),
    # Names
    "host name and domain": Case(
        script="hostname; hostname -f",
        spec={"hostname": "mars", "subdomain": "planets"},
        says=("^mars$", r"^mars\.planets\.node-\S+\.svc\.cluster\.local$"),
    ),
    # Init containers
    "init containers run in turn": Case(
        script="cat /v/f",
        spec={
            **_EMPTY,
            "initContainers": [
                {
                    "name": f"init{n}",
                    "image": IMAGE,
                    "command": ["sh", "-c", f"echo {n} >> /v/f"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
                for n in (1, 2)
            ],
        },
        container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        says=(r"\A1\n2\n\Z",),
        status={"initContainerStatuses.1.state.terminated.exitCode": 0},
    ),
    "a failed init container ends the pod": Case(
        script="echo never",
        spec={
            "initContainers": [
                {"name": "init1", "image": IMAGE, "command": ["false"]},
                {"name": "init2", "image": IMAGE, "command": ["true"]},
            ]
        },
        phase="Failed",
        status={
            "initContainerStatuses.0.state.terminated.exitCode": 1,
            "initContainerStatuses.1.state.waiting.reason": "PodInitializing",
            "containerStatuses.0.state.waiting.reason": "PodInitializing",
        },
    ),
    # Restart rules
    "rules of a container end or restart it": Case(
        script="[ -e /v/f ] && exit 0; touch /v/f; exit 42",
        container={
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
        },
        spec=_EMPTY,
        status={"containerStatuses.0.restartCount": 1},
    ),
    "rules of a container restart all": Case(
        script="[ -e /v/f ] && exit 0; touch /v/f; exit 88",
        container={
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}}],
        },
        spec={**_EMPTY, "initContainers": [{"name": "again", "image": IMAGE, "command": ["true"]}]},
        status={
            "containerStatuses.0.restartCount": 1,
            "containerStatuses.0.lastState.terminated.exitCode": 88,
            "initContainerStatuses.0.restartCount": 1,
        },
    ),
    # User namespaces
    "limits of the pod hold for a container without": Case(
        script="cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true",
        spec={"resources": {"limits": {"memory": "64Mi", "cpu": "200m"}}},
        says=("^67108864$",),
    ),
    "nothing of /proc is hidden from users of their own": Case(
        script="mount | grep ' /proc/' || echo none",
        container=_secured(procMount="Unmasked"),
        spec={"hostUsers": False},
        says=("^none$",),
    ),
    "sysctls of users of their own": Case(
        script="cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range",
        spec={
            "hostUsers": False,
            "securityContext": {
                "sysctls": [
                    {"name": "kernel.shm_rmid_forced", "value": "1"},
                    {"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"},
                ]
            },
        },
        says=("^1$", r"^2000\s+3000$"),
    ),
}


def pod(name: str, case: Case) -> Object:
    """Return the pod of a case."""
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", case.script], **case.container}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **case.spec}
    return {"metadata": {"name": name, **case.metadata}, "spec": spec}
