"""Authorisation by the asker: what stands behind `/oauth/{provider}/start` and `/oauth/{provider}/callback`, which are in `app`.

A turn asks for consent as well: what is here is loaded without the web framework.
"""
