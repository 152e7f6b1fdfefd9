"""Other ways to serve a bundle, as people would write them: started by benchmarks/serving.py."""
