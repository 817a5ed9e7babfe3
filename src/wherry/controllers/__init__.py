"""What kube-controller-manager does: one file a controller, pure plans under level-based reconcilers."""
