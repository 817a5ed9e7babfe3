"""Label and field selectors: parsing in Kubernetes' words, matching, and the LabelSelector object.

::

    labels.parse("env in (a, b),!x").matches({"env": "a"})      # ValueError: not a selector
    labels.from_selector(deployment["spec"]["selector"])        # a LabelSelector object; None matches nothing
    fields.parse("metadata.name=a,spec.nodeName!=b")
"""
