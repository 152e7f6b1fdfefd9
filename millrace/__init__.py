"""The domain of Millrace: from a contract and a table to a bundle that predicts.

Plain Python. Nothing here knows ZenML, BentoML or a web framework.
"""
