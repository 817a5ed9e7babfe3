"""Pod Security Admission: the levels privileged, baseline and restricted, chosen by labels of the namespace.

`policy` reads the labels, `evaluate` runs the checks of a level and version over a pod's metadata and spec, `admission`
is the plugin. One module per group of checks (``host``, ``privileges``, ``profiles``, ``users``, ``volumes``) holds a
table ``CHECKS``. Checks are pure functions. Source of the rules: Kubernetes docs, Pod Security Standards; the words are
those of ``k8s.io/pod-security-admission``.
"""
