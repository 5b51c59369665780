"""A stand-in for CoreWeave's control API and for AI Object Storage.

Faithful where the service is documented; where it is not, a knob in `settings.py` says what is
assumed. Nothing here is CoreWeave's code, and nothing here is for production.
"""
