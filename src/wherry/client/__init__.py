"""The API client: one client over two transports, reflectors, informers, workqueue, events recorder.

Everything outside the API server meets the API through this package. Objects that informers and listers hand out are
shared and must not be changed.
"""
