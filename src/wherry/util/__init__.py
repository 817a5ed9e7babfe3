"""Clock, tasks, backoff, logging: what every layer may use. Knows nothing of Kubernetes objects."""
