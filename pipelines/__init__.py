"""One module a pipeline: wiring that reads as a picture of the graph."""
