"""One module a promise of the product, each a function that hurts a real cluster and returns a
`Result` of counts.
"""
