"""One module for each promise of the product.
Each function injects faults into a real cluster and returns a `Result` of counts.
"""
