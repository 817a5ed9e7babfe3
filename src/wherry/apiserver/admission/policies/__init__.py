"""ValidatingAdmissionPolicies and MutatingAdmissionPolicies: CEL expressions that are bound to requests.

`source` compiles what all policies have and finds the bindings and parameters for an operation, `validating` and
`mutating` are the plugins, `changes` applies what an expression of a mutating policy made. Policies never see the
objects that configure admission.
"""
