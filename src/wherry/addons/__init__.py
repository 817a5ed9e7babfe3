"""What a cluster usually gets installed beside the control plane; each uses the API like any user."""
